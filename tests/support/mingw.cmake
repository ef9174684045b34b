# SPDX-License-Identifier: MIT
# Cross compilation for Windows with Debian's g++-mingw-w64-x86-64-posix. Where Wine is installed the tests run in it.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_CXX_COMPILER x86_64-w64-mingw32-g++-posix)
set(CMAKE_FIND_ROOT_PATH /usr/x86_64-w64-mingw32)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_EXE_LINKER_FLAGS_INIT -static)
find_program(PLAIT_WINE wine)
if(PLAIT_WINE)
  set(CMAKE_CROSSCOMPILING_EMULATOR "${PLAIT_WINE}")
endif()
