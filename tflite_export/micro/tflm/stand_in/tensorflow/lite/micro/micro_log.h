/* A stand-in: see tensorflow/lite/c/common.h. */
#ifndef TINYTL_STAND_IN_MICRO_LOG_H_
#define TINYTL_STAND_IN_MICRO_LOG_H_

__attribute__((format(printf, 1, 2))) void MicroPrintf(const char* format, ...);

#endif
