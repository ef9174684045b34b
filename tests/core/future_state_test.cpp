// SPDX-License-Identifier: MIT
#include <plait/core/future.hpp>
#include <plait/core/future_state.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <thread>
#include <utility>

using namespace std::chrono_literals;
using namespace plait;
using detail::FutureState;
using detail::StatePointer;

namespace {

/// A state that tells when it goes.
class Witness final : public FutureState<int> {
public:
    explicit Witness(int& live) : live_{live} { ++live_; }
    ~Witness() override { --live_; }

private:
    int& live_;
};

/// Sets the state when it is asked to help, and counts the sleeps.
class Helper final : public detail::WaitHelper {
public:
    void help(detail::FutureStateBase&, detail::Deadline) override { ++helps; }
    void sleep_begins() noexcept override { ++sleeps; }
    void sleep_ends() noexcept override { --sleeps; }
    int helps = 0;
    int sleeps = 0;
};

}  // namespace

TEST_CASE("a state lives as long as one of its owners") {
    int live = 0;
    {
        StatePointer<Witness> first{new Witness(live)};
        const StatePointer<Witness> second = first;
        const StatePointer<FutureState<int>> base{std::move(first)};
        CHECK_FALSE(first);
        CHECK(base.get() == second.get());
        CHECK(live == 1);
    }
    CHECK(live == 0);
}

TEST_CASE("a call is claimed once: to run it, to settle it, or to cancel it") {
    int live = 0;
    const StatePointer<Witness> run{new Witness(live)};
    CHECK(run->start());
    CHECK_FALSE(run->start());
    CHECK_FALSE(run->cancel());
    Outcome<int> seven;
    seven.set_value(7);
    CHECK(run->settle(std::move(seven)));
    CHECK_FALSE(run->settle(Outcome<int>{}));
    CHECK_FALSE(run->settle_cancelled());
    CHECK(run->result().value() == 7);

    const StatePointer<Witness> cancelled{new Witness(live)};
    CHECK(cancelled->cancel());
    CHECK_FALSE(cancelled->start());
    CHECK_FALSE(cancelled->settle(Outcome<int>{}));
    CHECK(cancelled->exception() != nullptr);
}

TEST_CASE("a thread that has other work is asked to help before it sleeps") {
    Helper helper;
    int live = 0;
    const StatePointer<Witness> state{new Witness(live)};
    detail::wait_helper() = &helper;
    CHECK_FALSE(state->wait(1ms));
    CHECK(helper.helps == 1);
    CHECK_FALSE(state->wait(0s));
    CHECK(helper.helps == 1);
    detail::wait_helper() = nullptr;
    CHECK(helper.sleeps == 0);
    CHECK(state->task_in(&helper) == nullptr);
}

TEST_CASE("a cancellation is one from its beginning, and drops the call before it is seen") {
    struct Call final : FutureState<int> {
        void drop_call() noexcept override {
            dropped_before_the_end = !ready();
            cancelled_again = cancel();
            settled = settle(Outcome<int>{});
            told = cancel_succeeded();
        }
        bool dropped_before_the_end = false;
        bool cancelled_again = false;
        bool settled = true;
        bool told = false;
    };
    const StatePointer<Call> call{new Call};
    CHECK_FALSE(call->cancel_succeeded());
    CHECK(call->cancel());
    CHECK(call->cancelled());
    CHECK(call->cancel_succeeded());
    CHECK(call->dropped_before_the_end);
    CHECK(call->cancelled_again);
    CHECK_FALSE(call->settled);
    CHECK(call->told);
}
