// SPDX-License-Identifier: MIT
//
// What does a thread cost that does nothing?

#include <plait/threading/thread.hpp>

#include <pthread.h>

#include <cstddef>
#include <cstdlib>
#include <thread>

#include "table.hpp"

namespace {

template <class One>
double each(One one) {
    const std::size_t count = benchmark::scaled(5'000);
    return benchmark::nanoseconds([&] {
               for (std::size_t i = 0; i < count; ++i) one();
           }) /
           static_cast<double>(count);
}

void with_pthread() {
    pthread_t thread;
    if (pthread_create(&thread, nullptr, [](void*) -> void* { return nullptr; }, nullptr) != 0) std::abort();
    pthread_join(thread, nullptr);
}

void with_std() {
    std::thread thread{[] {}};
    thread.join();
}

void with_plait() {
    plait::threading::Thread thread{[] {}};
    thread.start();
    thread.join();
}

}  // namespace

int main() {
    benchmark::Table table{"C3: make, start and join a thread", benchmark::us, "at most 1.1 of std::thread"};
    table.bare("std::thread", [] { return each(with_std); });
    table.peer("pthread_create, pthread_join", [] { return each(with_pthread); });
    table.plait("Thread", [] { return each(with_plait); });
    table.run();
}
