// SPDX-License-Identifier: MIT
#include <plait/threading.hpp>

int main() {
    plait::threading::Event done;
    plait::threading::Thread thread([&] { done.set(); });
    thread.start();
    thread.join();
    return done.is_set() ? 0 : 1;
}
