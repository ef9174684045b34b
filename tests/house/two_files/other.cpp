// SPDX-License-Identifier: MIT
#include "other.hpp"

int square(int number) { return number * number; }

namespace {

plait::asyncio::Coroutine<int> square_later(int number) {
    co_await plait::asyncio::sleep(std::chrono::milliseconds{1});
    co_return square(number);
}

}  // namespace

SeenFromOther look_from_other_file() {
    SeenFromOther seen;
    plait::threading::ThreadPool threads(2);
    seen.from_threads = threads.apply_async(square, 3).get();
    plait::multiprocessing::Pool processes(1);
    seen.from_process = processes.apply(square, 4);
    seen.from_coroutine = plait::asyncio::run(square_later(5));
    return seen;
}
