// SPDX-License-Identifier: MIT
#include <plait/asyncio/detail/mailbox.hpp>
#include <plait/core/timeout.hpp>

#include "support/catch.hpp"

#include <memory>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using plait::Timeout;
using plait::asyncio::detail::Mailbox;
using plait::detail::Deadline;

TEST_CASE("a mailbox gives its calls back in the order in which they came") {
    Mailbox mailbox;
    std::vector<int> order;
    CHECK_FALSE(mailbox.has_mail());
    CHECK(mailbox.post([&] { order.push_back(1); }));
    CHECK(mailbox.post([&, moved = std::make_unique<int>(2)] { order.push_back(*moved); }));
    CHECK(mailbox.has_mail());
    std::vector<Mailbox::Mail> mail;
    mailbox.take(mail);
    CHECK_FALSE(mailbox.has_mail());
    for (auto& call : mail) call();
    CHECK(order == std::vector<int>{1, 2});
}

TEST_CASE("a wait ends at once where there is mail, and at its deadline where there is none") {
    Mailbox mailbox;
    const auto start = Deadline::Clock::now();
    mailbox.wait(Deadline{Timeout{2ms}});
    CHECK(Deadline::Clock::now() - start >= 2ms);
    CHECK(mailbox.post([] {}));
    mailbox.wait(Deadline::never());
    CHECK(mailbox.has_mail());
}

TEST_CASE("mail wakes who waits, and a poster may be the last to hold the box") {
    for (int round = 0; round < 500; ++round) {
        auto mailbox = std::make_shared<Mailbox>();
        std::thread poster{[copy = mailbox]() mutable {
            static_cast<void>(copy->post([] {}));
            copy.reset();
        }};
        mailbox->wait(Deadline{Timeout{10s}});
        CHECK(mailbox->has_mail());
        mailbox.reset();
        poster.join();
    }
}

TEST_CASE("a closed mailbox refuses mail, and gives back what was not read") {
    Mailbox mailbox;
    CHECK(mailbox.post([] {}));
    CHECK(mailbox.close().size() == 1);
    CHECK_FALSE(mailbox.has_mail());
    CHECK_FALSE(mailbox.post([] {}));
}
