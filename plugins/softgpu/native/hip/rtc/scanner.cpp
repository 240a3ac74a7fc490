#include "scanner.h"

#include <algorithm>
#include <cctype>

namespace softgpu::rtc
{

namespace
{

bool starts_word(char c)
{
    return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_';
}

bool continues_word(char c)
{
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

class Scanner
{
  public:
    explicit Scanner(std::string_view text) : text_(text)
    {
        out_.text.reserve(text.size() + 4096);
    }

    Scanned run()
    {
        while (at_ < text_.size())
            step();
        return std::move(out_);
    }

  private:
    // What is known of the declaration being read: since the last ; { or }.
    struct Declaration {
        bool is_template = false;
        bool is_extern = false;
        bool is_static = false;
        bool is_namespace = false;
        bool dynamic_array = false; // an extern __shared__, to be given its symbol before the ;
        bool global = false;        // __global__ was read
        std::string namespace_name;
        std::string kernel;
    };

    void copy(size_t count)
    {
        out_.text.append(text_.substr(at_, count));
        at_ += count;
    }

    void step()
    {
        const char c = text_[at_];
        const bool line_start = at_ == 0 || text_[at_ - 1] == '\n';
        if (c == '#' && line_start)
            copy(rest_of_line()); // a line marker or a pragma
        else if (c == '"')
            copy(quoted('"'));
        else if (c == '\'')
            copy(quoted('\''));
        else if (starts_word(c))
            word();
        else if (std::isdigit(static_cast<unsigned char>(c)) != 0)
            copy(number());
        else
            punctuation(c);
    }

    size_t rest_of_line() const
    {
        const size_t end = text_.find('\n', at_);
        return (end == std::string_view::npos ? text_.size() : end + 1) - at_;
    }

    size_t quoted(char quote) const
    {
        size_t i = at_ + 1;
        while (i < text_.size() && text_[i] != quote)
            i += text_[i] == '\\' ? 2 : 1;
        return std::min(i + 1, text_.size()) - at_;
    }

    // R"tag( ... )tag", from the quote on.
    size_t raw_string() const
    {
        const size_t open = text_.find('(', at_);
        if (open == std::string_view::npos)
            return text_.size() - at_;
        const std::string end = ")" + std::string(text_.substr(at_ + 1, open - at_ - 1)) + "\"";
        const size_t close = text_.find(end, open);
        return (close == std::string_view::npos ? text_.size() : close + end.size()) - at_;
    }

    // With its separators: 1'000'000 must not open a character literal.
    size_t number() const
    {
        size_t i = at_;
        while (i < text_.size() && (continues_word(text_[i]) || text_[i] == '\'' || text_[i] == '.'))
            ++i;
        return i - at_;
    }

    char next_character(size_t from) const
    {
        while (from < text_.size() && std::isspace(static_cast<unsigned char>(text_[from])) != 0)
            ++from;
        return from < text_.size() ? text_[from] : '\0';
    }

    void word()
    {
        size_t end = at_;
        while (end < text_.size() && continues_word(text_[end]))
            ++end;
        const std::string_view name = text_.substr(at_, end - at_);
        if (end < text_.size() && text_[end] == '"' &&
            (name == "R" || name == "u8R" || name == "uR" || name == "LR")) {
            copy(name.size());
            copy(raw_string());
            return;
        }
        if (name == "__global__") {
            declaration_.global = true;
            substitute(name.size(), "__attribute__((visibility(\"default\")))");
        } else if (name == "__shared__")
            shared(name.size());
        else if (name == "__noinline__" && parentheses_ == 0) // in an attribute's list it is C++ already
            substitute(name.size(), "__attribute__((noinline))");
        else {
            note_word(name, end);
            copy(name.size());
        }
    }

    void substitute(size_t count, std::string_view with)
    {
        out_.text.append(with);
        at_ += count;
    }

    void shared(size_t count)
    {
        at_ += count;
        if (declaration_.is_extern) {
            declaration_.dynamic_array = true;
            out_.dynamic_shared = true;
            out_.text.append("__thread");
        } else {
            out_.text.append(declaration_.is_static ? "__thread" : "static __thread");
        }
    }

    void note_word(std::string_view name, size_t end)
    {
        if (parentheses_ != 0)
            return;
        if (name == "template")
            declaration_.is_template = true;
        else if (name == "extern")
            declaration_.is_extern = next_character(end) != '"'; // extern "C" is about names
        else if (name == "static")
            declaration_.is_static = true;
        else if (name == "namespace")
            declaration_.is_namespace = true;
        else if (declaration_.is_namespace)
            declaration_.namespace_name +=
                (declaration_.namespace_name.empty() ? "" : "::") + std::string(name);
        else if (declaration_.global && declaration_.kernel.empty() && name != "__attribute__" &&
                 name != "__declspec" && next_character(end) == '(')
            declaration_.kernel = name;
    }

    void punctuation(char c)
    {
        if (c == '(')
            ++parentheses_;
        else if (c == ')' && parentheses_ > 0)
            --parentheses_;
        else if (c == '{')
            open_brace();
        else if (c == '}')
            close_brace();
        else if (c == ';' && parentheses_ == 0)
            end_declaration();
        copy(1);
    }

    void open_brace()
    {
        if (declaration_.global && !declaration_.kernel.empty() && !declaration_.is_template)
            add_kernel();
        scopes_.push_back({declaration_.is_namespace ? declaration_.namespace_name : "", parentheses_});
        declaration_ = {};
        parentheses_ = 0;
    }

    void close_brace()
    {
        if (!scopes_.empty()) {
            parentheses_ = scopes_.back().parentheses;
            scopes_.pop_back();
        }
        declaration_ = {};
    }

    void end_declaration()
    {
        if (declaration_.dynamic_array)
            out_.text.append(" __asm__(\"softgpu_dynamic_shared\")");
        declaration_ = {};
    }

    void add_kernel()
    {
        std::string name;
        for (const Scope &scope : scopes_)
            if (!scope.name.empty())
                name += scope.name + "::";
        name += declaration_.kernel;
        if (std::find(out_.kernels.begin(), out_.kernels.end(), name) == out_.kernels.end())
            out_.kernels.push_back(name);
    }

    struct Scope {
        std::string name;
        int parentheses; // how many were open outside: a lambda in an argument list
    };

    std::string_view text_;
    size_t at_ = 0;
    int parentheses_ = 0;
    Declaration declaration_;
    std::vector<Scope> scopes_;
    Scanned out_{{}, {}, false};
};

} // namespace

Scanned scan(std::string_view preprocessed)
{
    return Scanner(preprocessed).run();
}

} // namespace softgpu::rtc
