// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// Something that a loop does in its next pass: takes a step of a task, or calls a callback.
class ReadyNode {
public:
    ReadyNode(const ReadyNode&) = delete;
    ReadyNode& operator=(const ReadyNode&) = delete;

    virtual void on_turn() noexcept = 0;
    /// Its loop closes, and the turn does not come.
    virtual void on_drop() noexcept {}
    [[nodiscard]] virtual bool is_task() const noexcept { return false; }

protected:
    ReadyNode() = default;
    ~ReadyNode() = default;

private:
    friend class ReadyQueue;
    ReadyNode* next_ = nullptr;
};

/// What is to be done in the next pass, in order; a node is in it once at most.
class ReadyQueue {
public:
    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    void push(ReadyNode& node) noexcept {
        node.next_ = nullptr;
        (first_ != nullptr ? last_->next_ : first_) = &node;
        last_ = &node;
    }
    /// From now on the tasks of a pass take turns in an order that follows from `seed`. Callbacks keep theirs.
    void shuffle(std::uint64_t seed) noexcept {
        seed_ = seed;
        shuffled_ = true;
    }
    /// One pass: calls `take_turn(node)` for what was queued before; what is queued meanwhile waits for the next.
    template <class TakeTurn>
    void run_pass(TakeTurn take_turn) {
        if (shuffled_) mix();
        ReadyNode* node = std::exchange(first_, nullptr);
        while (node != nullptr) {
            ReadyNode* const next = node->next_;
            take_turn(*node);
            node = next;
        }
    }
    void clear() noexcept {
        while (first_ != nullptr) {
            ReadyNode& node = *std::exchange(first_, first_->next_);
            node.on_drop();
        }
    }

private:
    void mix() {
        std::vector<ReadyNode*> nodes;
        std::vector<ReadyNode*> tasks;
        for (ReadyNode* node = first_; node != nullptr; node = node->next_) {
            nodes.push_back(node);
            if (node->is_task()) tasks.push_back(node);
        }
        for (std::size_t left = tasks.size(); left > 1; --left) std::swap(tasks[left - 1], tasks[random() % left]);
        first_ = nullptr;
        for (ReadyNode* const node : nodes) {
            if (!node->is_task()) {
                push(*node);
            } else {
                push(*tasks.back());
                tasks.pop_back();
            }
        }
    }
    /// Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
    std::uint64_t random() noexcept {
        std::uint64_t mixed = seed_ += 0x9E3779B97F4A7C15;
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
        return mixed ^ (mixed >> 31);
    }

    ReadyNode* first_ = nullptr;
    ReadyNode* last_ = nullptr;  // meaningful while there is a first
    std::uint64_t seed_ = 0;
    bool shuffled_ = false;
};

}  // namespace plait::inline PLAIT_ABI::asyncio::detail
