// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/threading/detail/local_values.hpp>

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::threading {

namespace detail {

/// Makes a value of a Local, in the thread that it is for.
template <class T>
class LocalFactory {
public:
    LocalFactory() = default;
    LocalFactory(const LocalFactory&) = delete;
    LocalFactory& operator=(const LocalFactory&) = delete;
    virtual ~LocalFactory() = default;
    virtual T make() = 0;
};

template <class T, class F>
class LocalFactoryOf final : public LocalFactory<T> {
public:
    explicit LocalFactoryOf(F function) : function_(std::move(function)) {}
    T make() override { return function_(); }

private:
    F function_;
};

template <class T>
class LocalValueOf final : public LocalValue {
public:
    LocalValueOf() : value() {}
    explicit LocalValueOf(LocalFactory<T>& factory) : value(factory.make()) {}

    T value;
};

template <class F, class T>
concept MakesLocal = std::is_invocable_v<F&> && (std::is_same_v<std::invoke_result_t<F&>, T> ||
                                                 std::is_convertible_v<std::invoke_result_t<F&>, T>);

}  // namespace detail

/// A variable of which each thread has its own: a `T` for each thread and each Local, made when the thread first uses it.
///
/// Python: threading.local; a struct's fields are its attributes. `Local<>` below has named ones. For one variable of the
/// whole program `thread_local` does; a Local may also be a member, one for each object.
///
///     struct Student { std::string name; };
///     Local<Student> student;
///     void greet() { std::cout << "Hello, " << student->name << " in " << current_thread().name() << '\n'; }
///
/// The value is made by T() (so a Local<int> starts at 0), or by a factory: `Local<int> n([] { return 42; })`, which runs
/// in each thread, in several at once. What a factory throws goes to the user of the Local, and the next use tries again.
/// It is destroyed at its thread's end, in that thread, or with the Local, whichever is first; a value's destructor may
/// use other Locals, and this one, which makes a new value while the Local lives: where it may also run with ~Local, it has
/// to catch the UsageError. What a thread-local's destructor makes after the thread's values have gone lives until ~Local.
/// In the child of a fork the values of other threads are gone, undestroyed. In a coroutine it is the value of the thread
/// that runs it just then.
/// Memory: beside the values, each thread has a table as long as the highest number of a Local that it uses, 16 bytes for
/// each; numbers of Locals that have gone are given again.
/// Threads: every member but destruction from any thread, also of other libraries.
/// Lifetime: ~Local waits for destructors of values that their threads have begun. No thread uses it then any more.
/// Throws: UsageError where the factory uses its own Local, or a value's destructor a Local that is being destroyed.
template <class T = void>
class Local {
    static_assert(std::is_object_v<T> && !std::is_array_v<T>, "a Local holds objects: put arrays in a std::array");
    static_assert(std::is_nothrow_destructible_v<T>,
                  "a Local's values are destroyed at the ends of threads, where nobody catches: their destructor must "
                  "not throw");

public:
    constexpr Local() noexcept
        requires std::is_default_constructible_v<T>
    = default;
    template <class Factory>
        requires detail::MakesLocal<std::decay_t<Factory>, T>
    explicit Local(Factory&& factory)
        : factory_{std::make_unique<detail::LocalFactoryOf<T, std::decay_t<Factory>>>(std::forward<Factory>(factory))} {
    }

    /// The calling thread's value. The reference is for this thread, and as long as the value lives.
    T& get() const {
        using Value = detail::LocalValueOf<T>;
        if (const detail::LocalSlot* const slot = values_.find()) [[likely]]
            return static_cast<Value*>(slot->value)->value;
        return static_cast<Value&>(values_.find_or_make([this] { return make(); })).value;
    }
    T& operator*() const { return get(); }
    T* operator->() const { return std::addressof(get()); }

private:
    std::unique_ptr<detail::LocalValue> make() const {
        if constexpr (std::is_default_constructible_v<T>)
            if (!factory_) return std::make_unique<detail::LocalValueOf<T>>();
        return std::make_unique<detail::LocalValueOf<T>>(*factory_);
    }

    std::unique_ptr<detail::LocalFactory<T>> factory_;
    mutable detail::LocalValues values_;
};

namespace detail {

/// An address that is the type's own: what stands for it without run-time type information.
template <class T>
PLAIT_VISIBLE const void* type_key() noexcept {
    static constinit char key = 0;
    return &key;
}

class Attribute {
public:
    explicit Attribute(const void* type) noexcept : type_{type} {}
    Attribute(const Attribute&) = delete;
    Attribute& operator=(const Attribute&) = delete;
    virtual ~Attribute() = default;
    [[nodiscard]] const void* type() const noexcept { return type_; }

private:
    const void* type_;
};

template <class T>
class AttributeOf final : public Attribute {
public:
    explicit AttributeOf(T given) : Attribute{type_key<T>()}, value(std::move(given)) {}
    T value;
};

using Attributes = std::map<std::string, std::unique_ptr<Attribute>, std::less<>>;

}  // namespace detail

/// Named variables of which each thread has its own, of types that are known where they are used.
///
/// Python: threading.local, whose attributes these are. Where their names are known beforehand a Local of a struct is
/// quicker, and checked by the compiler.
///
///     Local<> local;
///     local.set("student", std::string("Alice"));
///     std::cout << local.get<std::string>("student") << '\n';
///
/// Values live and die as those of any Local. References to one stay good until it is set anew or removed.
/// Threads: every member but destruction from any thread; each sees its own attributes alone.
template <>
class Local<void> {
public:
    constexpr Local() noexcept = default;

    /// Sets the calling thread's attribute, whatever it was before. `set<std::string>("name", "Alice")` where the
    /// argument's own type is not the one to keep.
    template <class T>
    T& set(std::string_view name, T value) {
        static_assert(std::is_nothrow_destructible_v<T>,
                      "a Local's values are destroyed at the ends of threads, where nobody catches: their destructor "
                      "must not throw");
        auto made = std::make_unique<detail::AttributeOf<T>>(std::move(value));
        T& result = made->value;
        // The old one goes last: its destructor may use this.
        std::unique_ptr<detail::Attribute> old = std::move(made);
        attributes_->try_emplace(std::string{name}).first->second.swap(old);
        return result;
    }
    /// The calling thread's attribute. Throws: std::out_of_range (Python: AttributeError) where this thread has not set
    /// it; UsageError where it set one of another type than `T`, which must be the very same.
    template <class T>
    T& get(std::string_view name) const {
        const auto place = attributes_->find(name);
        if (place == attributes_->end())
            throw std::out_of_range("Local: this thread has no attribute '" + std::string{name} +
                                    "': set it in each thread that uses it");
        detail::Attribute& attribute = *place->second;
        if (attribute.type() != detail::type_key<T>())
            throw UsageError("Local: the attribute '" + std::string{name} +
                             "' is of another type: get the very type that was set (a literal is kept as const char*: "
                             "set<std::string>(...) keeps a string)");
        return static_cast<detail::AttributeOf<T>&>(attribute).value;
    }
    /// Whether the calling thread has set it.
    [[nodiscard]] bool contains(std::string_view name) const { return attributes_->contains(name); }
    /// Destroys the calling thread's attribute; returns whether there was one.
    bool remove(std::string_view name) {
        const auto place = attributes_->find(name);
        if (place == attributes_->end()) return false;
        const auto node = attributes_->extract(place);  // its destructor may use this
        return true;
    }
    /// The names of the calling thread's attributes, sorted.
    [[nodiscard]] std::vector<std::string> names() const {
        std::vector<std::string> names;
        for (const auto& [name, attribute] : *attributes_) names.push_back(name);
        return names;
    }

private:
    Local<detail::Attributes> attributes_;
};

}  // namespace plait::inline PLAIT_ABI::threading
