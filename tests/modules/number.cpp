// SPDX-License-Identifier: MIT
#include "library.hpp"

int own_number() { return NUMBER; }
