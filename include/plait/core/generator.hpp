// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/outcome.hpp>
#include <plait/core/report.hpp>
#include <plait/core/unstarted.hpp>

#include <coroutine>
#include <cstddef>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI {

namespace detail {

template <class T, class Sent>
class GeneratorPromise;

/// One resumption of a generator and of those that it yields from: what is handed in, and who is to go on. The loop that
/// resumes them one after the other lies outside of all of them, so that no nest of generators grows the stack.
template <class T, class Sent>
struct Resumption {
    std::remove_reference_t<Sent>* sent = nullptr;
    std::exception_ptr thrown = nullptr;
    GeneratorPromise<T, Sent>* next = nullptr;
};

}  // namespace detail

template <class T, class Sent>
class YieldFrom;

/// A function that gives its results one by one, and takes a value in between: Python's `yield` and `send`.
///
///     Generator<std::string, int> consumer() {
///         std::string answer;
///         while (int n = co_yield answer) answer = "200 OK, " + std::to_string(n);
///     }
///     auto c = consumer();
///     c.next();                           // runs to the first co_yield, gives ""
///     std::string answer = c.send(1);     // "200 OK, 1"
///     for (int x : count_to(10)) …        // Generator<int>
///
/// Python: a generator. T may be a reference. What the body throws comes out where it was resumed, and ends it. It cannot
/// await: that is an asyncio::AsyncGenerator.
/// Lifetime: arguments that were taken by reference, and a lambda's captures, outlive the generator.
/// Threads: as an int; it may be resumed on another thread than before. Throws: UsageError where it resumes itself.
template <class T, class Sent = void>
class [[nodiscard("a generator that is not resumed never runs")]] Generator {
    static_assert(!std::is_void_v<T> && !std::is_rvalue_reference_v<T>, "plait: a Generator gives values or T&");

public:
    using value_type = std::remove_cvref_t<T>;
    using promise_type = detail::GeneratorPromise<T, Sent>;

    Generator(Generator&& other) noexcept { take(other); }
    Generator& operator=(Generator&& other) noexcept {
        if (this != &other) {
            destroy_checked();
            take(other);
        }
        return *this;
    }
    ~Generator() { destroy_checked(); }

    /// Hands `value` in as what `co_yield` gives, and returns what is yielded next. A fresh generator begins, and runs to
    /// its first `co_yield`: nobody receives the value.
    ///
    /// Throws: StopIteration where the body has ended, or ends now; what the body throws.
    T send(std::conditional_t<std::is_void_v<Sent>, detail::Unit, Sent> value)
        requires(!std::is_void_v<Sent>);
    /// As `send`, of a Sent{} if there is one to send.
    T next()
        requires(std::is_void_v<Sent> || std::is_default_constructible_v<Sent>);
    /// Throws `error` at the `co_yield`, and returns what is yielded next; a fresh generator is ended by it.
    ///
    /// Python: generator.throw.
    T throw_into(std::exception_ptr error);

    /// Whether its body has ended, or was closed. Not known before somebody asked for what is not there.
    [[nodiscard]] bool done() const noexcept { return !handle_; }
    /// Ends it where it stands: destructors of its locals run, code does not. Twice is fine.
    void close();

    class Iterator;
    /// What is yielded from here on, by `next`: `for (auto& item : generator)`.
    [[nodiscard]] Iterator begin()
        requires(std::is_void_v<Sent> || std::is_default_constructible_v<Sent>);
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

private:
    friend promise_type;
    friend class YieldFrom<T, Sent>;
    using Promise = promise_type;
    using Handle = std::coroutine_handle<Promise>;
    using Resumption = detail::Resumption<T, Sent>;

    explicit Generator(Handle handle) noexcept : handle_{handle} { promise().holder = this; }
    Promise& promise() const noexcept { return handle_.promise(); }
    void take(Generator& other) noexcept {
        handle_ = std::exchange(other.handle_, nullptr);
        if (handle_) promise().holder = this;
    }
    /// The one that yielded, in the nest whose root is here; null where the body has ended.
    Promise* resume(Resumption& resumption);
    static T take_from(Promise* yielded);
    void destroy_checked() noexcept;
    void destroy() noexcept;

    Handle handle_;
};

/// `co_yield yield_from(other)` in a generator yields all that another one of its type still has to give, and passes on
/// to that one what is sent and thrown in. The other one is taken over: it is `done()` from then on.
///
/// Python: `yield from`. Nests of any depth take constant stack, and a yield from the innermost costs no more.
template <class T, class Sent>
class [[nodiscard("co_yield it")]] YieldFrom {
public:
    /// Throws: UsageError where the other one is running: it is, or waits for, the one that would yield from it.
    explicit YieldFrom(Generator<T, Sent>&& other) : generator_{checked(other)} {}

private:
    friend class detail::GeneratorPromise<T, Sent>;
    static Generator<T, Sent>&& checked(Generator<T, Sent>& other) {
        if (other.handle_ && other.promise().resumption != nullptr)
            throw UsageError("yield_from a generator that is running: a body cannot yield from its own generator");
        return std::move(other);
    }
    Generator<T, Sent> generator_;
};

template <class T, class Sent>
YieldFrom<T, Sent> yield_from(Generator<T, Sent>&& other) {
    return YieldFrom<T, Sent>{std::move(other)};
}
template <class T, class Sent>
YieldFrom<T, Sent> yield_from(Generator<T, Sent>& other) {
    return YieldFrom<T, Sent>{std::move(other)};
}

namespace detail {

template <class T, class Sent>
class GeneratorPromise {
    using Handle = std::coroutine_handle<GeneratorPromise>;

    class End {
    public:
        End() noexcept {}
        static bool await_ready() noexcept { return false; }
        static void await_suspend(Handle ended) noexcept { ended.promise().resumption->next = ended.promise().parent; }
        static void await_resume() noexcept {}
    };
    class Yield {
    public:
        explicit Yield(GeneratorPromise& promise) noexcept : promise_{promise} {}
        static bool await_ready() noexcept { return false; }
        static void await_suspend(Handle) noexcept {}
        Sent await_resume() { return promise_.receive(); }

    private:
        GeneratorPromise& promise_;
    };
    class Nested {
    public:
        explicit Nested(Generator<T, Sent>&& generator) noexcept : generator_{std::move(generator)} {}
        [[nodiscard]] bool await_ready() const noexcept { return generator_.done(); }
        void await_suspend(Handle outer) noexcept {
            GeneratorPromise& inner = generator_.promise();
            inner.parent = &outer.promise();
            outer.promise().resumption->next = std::exchange(inner.leaf, &inner);  // it may have begun, alone
        }
        void await_resume() {
            if (generator_.done()) return;
            const std::exception_ptr failure = std::move(generator_.promise().error);
            generator_.destroy();
            if (failure) std::rethrow_exception(failure);
        }

    private:
        Generator<T, Sent> generator_;
    };

public:
    GeneratorPromise() noexcept = default;
    GeneratorPromise(const GeneratorPromise&) = delete;
    GeneratorPromise& operator=(const GeneratorPromise&) = delete;

    Generator<T, Sent> get_return_object() noexcept { return Generator<T, Sent>{Handle::from_promise(*this)}; }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    End final_suspend() const noexcept { return End{}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { error = std::current_exception(); }

    template <class U = T>
        requires(!std::is_reference_v<T> && std::is_convertible_v<U, T>)
    Yield yield_value(U&& value) {
        item.emplace(std::forward<U>(value));
        return Yield{*this};
    }
    Yield yield_value(T value) noexcept
        requires std::is_reference_v<T>
    {
        item.emplace(std::addressof(value));
        return Yield{*this};
    }
    Nested yield_value(YieldFrom<T, Sent>&& from) noexcept { return Nested{std::move(from.generator_)}; }

    template <class A>
    std::suspend_never await_transform(A&&) noexcept {
        static_assert(!std::is_same_v<A, A>, "plait: a Generator cannot await: make it an asyncio::AsyncGenerator");
        return {};
    }

    std::optional<typename Stored<T>::Type> item;  // while it stands at a co_yield
    std::exception_ptr error;                      // that ended the body
    Resumption<T, Sent>* resumption = nullptr;     // the last one; of a nest's root, only while it is under way
    GeneratorPromise* parent = nullptr;            // who yields from this one
    GeneratorPromise* leaf = this;                 // of a nest's root, who stands at the co_yield
    Generator<T, Sent>* holder = nullptr;          // who destroys it
    bool started = false;

private:
    Sent receive() {
        if (resumption->thrown) std::rethrow_exception(std::exchange(resumption->thrown, nullptr));
        if constexpr (!std::is_void_v<Sent>) {
            auto* const sent = std::exchange(resumption->sent, nullptr);
            if (sent != nullptr) return static_cast<Sent&&>(*sent);
            // By `next`; or somebody yields from a generator that had begun, to which nobody has sent anything.
            if constexpr (std::is_default_constructible_v<Sent>)
                return Sent();
            else
                throw UsageError("yield_from a generator that has begun needs a Sent that can be made of nothing");
        }
    }
};

}  // namespace detail

/// Walks through what a generator yields; an input iterator.
template <class T, class Sent>
class Generator<T, Sent>::Iterator {
public:
    using value_type = std::remove_cvref_t<T>;
    using difference_type = std::ptrdiff_t;

    explicit Iterator(Generator& generator) : generator_{&generator} { ++*this; }

    std::remove_reference_t<T>& operator*() const noexcept {
        if constexpr (std::is_reference_v<T>)
            return **yielded_->item;
        else
            return *yielded_->item;
    }
    Iterator& operator++() {
        Resumption resumption;
        yielded_ = generator_->resume(resumption);
        return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& self, std::default_sentinel_t) noexcept { return self.yielded_ == nullptr; }

private:
    Generator* generator_;
    Promise* yielded_ = nullptr;
};

template <class T, class Sent>
typename Generator<T, Sent>::Promise* Generator<T, Sent>::resume(Resumption& resumption) {
    if (!handle_) return nullptr;
    Promise& root = promise();
    if (root.resumption != nullptr)
        throw UsageError("a generator that is running cannot be resumed: its body may not use the generator itself");
    root.resumption = &resumption;
    if (!std::exchange(root.started, true)) resumption.sent = nullptr;  // nobody is there to receive it
    Promise* current = root.leaf;
    current->item.reset();
    do {
        root.leaf = current;
        current->resumption = &resumption;
        resumption.next = nullptr;
        Handle::from_promise(*current).resume();
        current = resumption.next;
    } while (current != nullptr);
    root.resumption = nullptr;
    if (!Handle::from_promise(root).done()) return root.leaf;
    const std::exception_ptr error = std::move(root.error);
    root.holder->destroy();  // which need not be this any more: the body may have moved it
    if (error) std::rethrow_exception(error);
    return nullptr;
}

template <class T, class Sent>
T Generator<T, Sent>::take_from(Promise* yielded) {
    if (yielded == nullptr) throw StopIteration("the generator has ended and yields nothing more");
    return detail::Stored<T>::take(std::move(*yielded->item));
}

template <class T, class Sent>
T Generator<T, Sent>::send(std::conditional_t<std::is_void_v<Sent>, detail::Unit, Sent> value)
    requires(!std::is_void_v<Sent>)
{
    Resumption resumption;
    resumption.sent = std::addressof(value);
    return take_from(resume(resumption));
}

template <class T, class Sent>
T Generator<T, Sent>::next()
    requires(std::is_void_v<Sent> || std::is_default_constructible_v<Sent>)
{
    Resumption resumption;
    return take_from(resume(resumption));
}

template <class T, class Sent>
T Generator<T, Sent>::throw_into(std::exception_ptr error) {
    if (!error) throw std::invalid_argument("throw_into: there is no exception in this pointer");
    if (handle_ && !promise().started) close();
    if (!handle_) std::rethrow_exception(error);
    Resumption resumption;
    resumption.thrown = std::move(error);
    return take_from(resume(resumption));
}

template <class T, class Sent>
void Generator<T, Sent>::close() {
    if (!handle_) return;
    if (promise().resumption != nullptr)
        throw UsageError("a generator that is running cannot be closed: its body ends it by co_return");
    destroy();
}

template <class T, class Sent>
typename Generator<T, Sent>::Iterator Generator<T, Sent>::begin()
    requires(std::is_void_v<Sent> || std::is_default_constructible_v<Sent>)
{
    return Iterator{*this};
}

template <class T, class Sent>
void Generator<T, Sent>::destroy_checked() noexcept {
    if (!handle_) return;
    if (promise().resumption != nullptr) {
        detail::print_error_line("plait: a Generator was destroyed by its own body: it must outlive its resumption");
        std::terminate();
    }
    destroy();
}

template <class T, class Sent>
void Generator<T, Sent>::destroy() noexcept {
    Promise& root = promise();
    // From the innermost outwards, one after the other: it may refer to those around it, and the nest may be deep.
    for (Promise* inner = root.leaf; inner != &root;) {
        Promise* const outer = inner->parent;
        inner->holder->handle_ = nullptr;
        Handle::from_promise(*inner).destroy();
        inner = outer;
    }
    const Handle handle = std::exchange(handle_, nullptr);
    if (root.started)
        handle.destroy();
    else
        detail::UnstartedCoroutines::destroy(handle);
}

}  // namespace plait::inline PLAIT_ABI
