// SPDX-License-Identifier: MIT
//
// How do a few workers share the jobs that somebody brings, all in one thread? By an async queue.
//
// Python:
//
//     async def worker(name, queue):
//         while True:
//             job = await queue.get()
//             await asyncio.sleep(job / 1000)
//             print(name, "has slept for", job, "ms")
//             queue.task_done()
//
//     queue = asyncio.Queue(3)
//     workers = [asyncio.create_task(worker(f"worker {i}", queue)) for i in range(3)]
//     for job in jobs:
//         await queue.put(job)
//     await queue.join()
//     for worker in workers:
//         worker.cancel()

#include <plait/plait.hpp>

#include <chrono>
#include <iostream>
#include <string>

namespace aio = plait::asyncio;

using Jobs = aio::Queue<std::chrono::milliseconds>;

aio::Coroutine<void> worker(std::string name, Jobs& jobs) {
    try {
        for (;;) {
            const std::chrono::milliseconds job = co_await jobs.get();
            co_await aio::sleep(job);
            std::cout << name << " has slept for " << job.count() << " ms\n";
        }
    } catch (const plait::QueueShutDown&) {
        std::cout << name << " goes home\n";
    }
}

aio::Coroutine<void> producer(Jobs& jobs) {
    for (int i = 1; i <= 10; ++i) co_await jobs.put(std::chrono::milliseconds{i * 37 % 100});  // waits while it is full
    jobs.shutdown();  // what is in it is still handed out
}

aio::Coroutine<void> work() {
    Jobs jobs(3);
    co_await aio::task_group([&jobs](aio::TaskGroup& group) -> aio::Coroutine<void> {
        for (int i = 1; i <= 3; ++i) group.create_task(worker("worker " + std::to_string(i), jobs));
        group.create_task(producer(jobs));
        co_return;
    });
    std::cout << "all jobs are done\n";
}

int main() { aio::run(work()); }
