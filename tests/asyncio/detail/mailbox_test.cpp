// SPDX-License-Identifier: MIT
#include <plait/asyncio/detail/mailbox.hpp>
#include <plait/core/timeout.hpp>

#include "support/catch.hpp"

#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using plait::Timeout;
using plait::asyncio::detail::Mailbox;
using plait::asyncio::detail::MailList;
using plait::detail::Deadline;

TEST_CASE("a mailbox gives its calls back in the order in which they came") {
    Mailbox mailbox;
    std::vector<int> order;
    CHECK_FALSE(mailbox.has_mail());
    CHECK(mailbox.post([&] { order.push_back(1); }));
    CHECK(mailbox.post([&, moved = std::make_unique<int>(2)] { order.push_back(*moved); }));
    CHECK(mailbox.has_mail());
    MailList mail = mailbox.take();
    CHECK_FALSE(mailbox.has_mail());
    while (!mail.empty()) mail.pop().deliver();
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
    CHECK_FALSE(mailbox.close().empty());
    CHECK(mailbox.close().empty());
    CHECK_FALSE(mailbox.has_mail());
    CHECK_FALSE(mailbox.post([] {}));
}

TEST_CASE("a call is destroyed whether it is made, throws, is refused or never read") {
    const auto watched = std::make_shared<int>(0);
    Mailbox mailbox;
    CHECK(mailbox.post([watched] {}));
    CHECK(mailbox.post([watched] { throw std::runtime_error("thrown"); }));
    CHECK(mailbox.post([watched] {}));
    CHECK(watched.use_count() == 4);
    {
        MailList mail = mailbox.take();
        mail.pop().deliver();
        CHECK_THROWS_AS(mail.pop().deliver(), std::runtime_error);
        CHECK(watched.use_count() == 2);
    }
    CHECK(watched.use_count() == 1);
    static_cast<void>(mailbox.close());
    CHECK_FALSE(mailbox.post([watched] {}));
    CHECK(watched.use_count() == 1);
}

TEST_CASE("a wait that ends by time while mail comes loses neither the mail nor the poster") {
    for (int round = 0; round < 500; ++round) {
        auto mailbox = std::make_shared<Mailbox>();
        std::thread poster{[copy = mailbox]() mutable {
            static_cast<void>(copy->post([] {}));
            copy.reset();
        }};
        while (!mailbox->has_mail()) mailbox->wait(Deadline{Timeout{std::chrono::microseconds{round % 100}}});
        mailbox.reset();
        poster.join();
    }
}
