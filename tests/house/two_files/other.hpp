// SPDX-License-Identifier: MIT
#pragma once

#include <plait/plait.hpp>

/// What this program sees of the library from its second file.
struct SeenFromOther {
    int from_threads = 0;
    int from_coroutine = 0;
    int from_process = 0;
};

int square(int number);
SeenFromOther look_from_other_file();
