// Reads the state that the first argument names, and writes it to the second.
#include <cstdio>
#include <exception>

#include "state_file.h"

int main(int, char** arguments) {
  try {
    write_state(arguments[2], read_state(arguments[1]));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
