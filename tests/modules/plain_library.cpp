// SPDX-License-Identifier: MIT

// A shared library that knows nothing of plait: tests find its parts in memory, and have processes call them.

extern "C" {

extern const int plain_constant;
const int plain_constant = 2;

int plain_function(int x);
int plain_function(int x) { return x + 1000 * plain_constant; }
}
