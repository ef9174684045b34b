// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/core/future_state.hpp>
#include <plait/core/imap.hpp>
#include <plait/core/imap_turns.hpp>
#include <plait/core/outcome.hpp>
#include <plait/core/progress_teller.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/pool/call.hpp>
#include <plait/multiprocessing/pool/engine.hpp>
#include <plait/multiprocessing/pool/result.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// An item of an imap that could not be encoded: it is not in the call, and fails when it is its turn.
struct RefusedItem {
    std::size_t item;
    std::exception_ptr exception;
};

/// What a pool and the reader of an `imap` share: a sink of the call's items on the one side, and on the other the source
/// of an Imap.
///
/// A pool makes it (`make_imap_state`) and the call, which tells it singly; encodes the items; says what to expect; submits
/// the call; and returns `read(state, …)`. The items of the call are numbered without the refused ones, which are told of
/// in the items' order.
///
/// Threads: a sink's members from any, each item told once; a source's from one reader.
template <class Result>
class ImapState final : public plait::detail::ImapSource<Result>, public ItemSink {
public:
    using Teller = plait::detail::ProgressTeller;

    ImapState(const std::shared_ptr<Engine>& engine, plait::detail::Order order) noexcept
        : engine_{engine}, order_{order} {}
    ImapState(const ImapState&) = delete;
    ImapState& operator=(const ImapState&) = delete;

    /// How many items the call has, and what is not in it; before anything is told. `teller` may be null.
    void expect(std::size_t sent, std::vector<RefusedItem> refused = {}, std::shared_ptr<Teller> teller = nullptr);

    bool begin() noexcept override { return !left_.load(std::memory_order_relaxed); }
    void succeed(std::size_t item, Decoder& result) noexcept override {
        set(item, [&]() -> Result { return read_result<Result>(result).value(); });
    }
    void fail(std::size_t item, std::exception_ptr exception) noexcept override {
        set(item, [&]() -> Result { std::rethrow_exception(std::move(exception)); });
    }
    void abandon() noexcept override;
    void retain() noexcept override { add_owner(); }
    void release() noexcept override { drop_owner(); }

    /// The call is on its way.
    void start_progress() noexcept {
        if (teller_ != nullptr) teller_->start();
    }
    [[nodiscard]] std::size_t size() const noexcept { return results_.size(); }
    [[nodiscard]] Outcome<Result>* next(Timeout timeout) override {
        return turns_->has_come() || wait(timeout) ? &results_[turns_->take()] : nullptr;
    }
    void leave() noexcept override {
        left_.store(true, std::memory_order_relaxed);
        const auto engine = engine_.lock();
        if (engine != nullptr && engine->is_copy()) return;  // what it could wait for is in the program
        if (teller_ != nullptr) teller_->stop();
        if (engine != nullptr) engine->forget(*this);
    }

    void add_owner() noexcept { owners_.fetch_add(1, std::memory_order_relaxed); }
    void drop_owner() noexcept {
        // acq_rel: the last owner's deletion comes after everything that the others did with the state.
        if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

private:
    ~ImapState() = default;

    /// Where the call's `item` stands among all.
    [[nodiscard]] std::size_t place_of(std::size_t item) const noexcept {
        // How many were refused before it: of refused item i, `item - i` of the call stand before it.
        std::size_t low = 0;
        for (std::size_t high = refused_.size(); low < high;) {
            const std::size_t middle = low + (high - low) / 2;
            if (refused_[middle].item - middle <= item)
                low = middle + 1;
            else
                high = middle;
        }
        return item + low;
    }
    [[nodiscard]] bool wait(Timeout timeout);
    template <class Function>
    void set(std::size_t item, Function get) noexcept {
        const std::size_t place = place_of(item);
        results_[place].run(get);
        announce(place);
    }
    /// The outcome at `place` is written.
    void announce(std::size_t place) noexcept;
    void give_to_reader(std::size_t place) noexcept {
        if (!turns_->announce(place)) return;
        if (const auto engine = engine_.lock()) engine->wake_attendant();  // the reader may be the one who attends
    }

    const std::weak_ptr<Engine> engine_;
    const plait::detail::Order order_;
    std::vector<RefusedItem> refused_;  // what `expect` was told, as the next three
    std::vector<Outcome<Result>> results_;
    std::optional<plait::detail::ImapTurns> turns_;
    std::shared_ptr<Teller> teller_;
    std::atomic<std::size_t> told_{0};  // how many have come, where there is a teller
    std::atomic<bool> left_{false};     // whether the reader is gone; written by it
    std::atomic<std::uint32_t> owners_{1};
};

template <class Result>
void ImapState<Result>::expect(std::size_t sent, std::vector<RefusedItem> refused, std::shared_ptr<Teller> teller) {
    refused_ = std::move(refused);
    results_.resize(sent + refused_.size());
    turns_.emplace(order_, results_.size());
    teller_ = std::move(teller);
    for (const RefusedItem& refused_item : refused_) {
        results_[refused_item.item].set_exception(refused_item.exception);
        announce(refused_item.item);
    }
    if (results_.empty() && teller_ != nullptr) teller_->finish(nullptr);
}

template <class Result>
void ImapState<Result>::abandon() noexcept {
    if (left_.load(std::memory_order_relaxed)) return;
    // All that was told is behind this. The reader moves what the results hold, and leaves alone whether they are empty.
    for (std::size_t place = 0; place < results_.size(); ++place) {
        if (!results_[place].empty()) continue;
        results_[place].run(
            []() -> Result { throw BrokenPromiseError("the pool lost this item: it was out of memory"); });
        announce(place);
    }
}

template <class Result>
void ImapState<Result>::announce(std::size_t place) noexcept {
    if (teller_ == nullptr) return give_to_reader(place);
    const std::size_t told = told_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (told < results_.size()) {
        give_to_reader(place);
        teller_->tell(told);
    } else {
        teller_->finish([this, place, alive = SinkPointer{*this}] { give_to_reader(place); });
    }
}

template <class Result>
bool ImapState<Result>::wait(Timeout timeout) {
    if (timeout.is_zero()) return false;
    const plait::detail::Deadline deadline{timeout};
    if (const auto engine = engine_.lock()) {
        plait::detail::WaitHelper* const helper = plait::detail::wait_helper();
        if (helper != nullptr) helper->sleep_begins();
        engine->attend([this] { return turns_->has_come(); }, [this] { return turns_->announce_reader(); }, deadline);
        if (helper != nullptr) helper->sleep_ends();
    }
    return turns_->wait(deadline);
}

template <class Result>
using ImapStatePointer = plait::detail::StatePointer<ImapState<Result>>;

template <class Result>
ImapStatePointer<Result> make_imap_state(const std::shared_ptr<Engine>& engine, plait::detail::Order order) {
    return ImapStatePointer<Result>{new ImapState<Result>(engine, order)};
}

/// What the caller of `imap` gets, once the pool has taken the call. `range_error` is what the range of items threw after its last one, or null.
template <class Result>
Imap<Result> read(ImapStatePointer<Result> state, std::exception_ptr range_error) {
    state->start_progress();
    const std::size_t count = state->size();
    // Given over to the shared pointer at once: should that have no memory, it drops the state itself.
    std::shared_ptr<plait::detail::ImapSource<Result>> source{state.release(),
                                                              [](ImapState<Result>* last) { last->drop_owner(); }};
    return plait::detail::imap_of<Result>(std::move(source), count, std::move(range_error));
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
