// Live handles of one kind. A handle that is not in it (null, destroyed, never made) is told apart from a
// good one, so a caller's mistake is an error code here and not a crash.
#ifndef SOFTGPU_HIP_REGISTRY_H
#define SOFTGPU_HIP_REGISTRY_H
#include <memory>
#include <mutex>
#include <unordered_map>

namespace softgpu
{

template <class T> class Registry
{
  public:
    void *add(std::shared_ptr<T> object)
    {
        void *handle = object.get();
        const std::lock_guard<std::mutex> guard(mutex_);
        objects_.emplace(handle, std::move(object));
        return handle;
    }

    std::shared_ptr<T> find(const void *handle)
    {
        const std::lock_guard<std::mutex> guard(mutex_);
        const auto found = objects_.find(handle);
        return found == objects_.end() ? nullptr : found->second;
    }

    std::shared_ptr<T> remove(const void *handle)
    {
        const std::lock_guard<std::mutex> guard(mutex_);
        const auto found = objects_.find(handle);
        if (found == objects_.end())
            return nullptr;
        std::shared_ptr<T> object = std::move(found->second);
        objects_.erase(found);
        return object;
    }

  private:
    std::mutex mutex_;
    std::unordered_map<const void *, std::shared_ptr<T>> objects_;
};

} // namespace softgpu
#endif
