// SPDX-License-Identifier: MIT
// A program of two files that both include the library and use the same parts of it; it has to link, and to work.
#include <plait/plait.hpp>
#include <plait/plait.hpp>  // a second time does nothing

#include "other.hpp"

namespace {

plait::asyncio::Coroutine<int> square_later(int number) {
    co_await plait::asyncio::sleep(std::chrono::milliseconds{1});
    co_return square(number);
}

}  // namespace

int main(int argc, char** argv) {
    plait::multiprocessing::freeze_support(argc, argv);
    plait::threading::Lock lock;
    int sum = 0;
    plait::threading::Thread thread([&] {
        const std::scoped_lock guard{lock};
        sum += 1;
    });
    thread.start();
    thread.join();
    plait::threading::ThreadPool threads(2);
    sum += threads.apply_async(square, 3).get();
    plait::multiprocessing::Pool processes(1);
    sum += processes.apply(square, 4);
    sum += plait::asyncio::run(square_later(5));

    const SeenFromOther seen = look_from_other_file();
    return sum == 51 && seen.from_threads + seen.from_process + seen.from_coroutine == 50 ? 0 : 1;
}
