# For CMAKE_TOOLCHAIN_FILE: Debian's gcc-arm-none-eabi, hard float. CPU_FLAGS names the processor.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES CPU_FLAGS)
set(CPU_FLAGS "-mcpu=cortex-m4 -mfpu=fpv4-sp-d16" CACHE STRING "processor and FPU")
set(CMAKE_C_FLAGS_INIT "-mthumb -mfloat-abi=hard ${CPU_FLAGS} --specs=nano.specs")
