#include <jansson.h>
#include <string.h>

/* The parser's input: a list of a string of `padding` letters, on a line of its own, and the text.
 *
 * The parser collects each string in one buffer that grows, and takes no notice when growing is refused: the byte at hand is lost,
 * and if it follows a backslash an assertion ends the process. The first string makes the buffer large enough for all that follows; what
 * it loses is of no account. Its closing quote is never such a byte unless `padding` is two less than a power of two. */
typedef struct {
    const char *text;
    size_t length, padding, at;
} padded_text;

static inline size_t padded_read(void *buffer, size_t capacity, void *context) {
    padded_text *t = (padded_text *)context;
    char *to = (char *)buffer;
    size_t start = t->padding + 5, end = start + t->length, done = 0;
    while (done < capacity && t->at < end + 1) {
        size_t at = t->at, count = 1;
        if (at >= start && at < end) {
            count = end - at < capacity - done ? end - at : capacity - done;
            memcpy(to + done, t->text + (at - start), count);
        } else if (at >= start) {
            to[done] = ']';
        } else if (at >= t->padding + 2) {
            to[done] = "\",\n"[at - t->padding - 2];
        } else {
            to[done] = at == 0 ? '[' : at == 1 ? '"' : 'x';
        }
        t->at += count;
        done += count;
    }
    return done;
}

/* Parses `length` bytes at `text` as the second element of the list that is returned; a text of several values gives a list of more
 * than two. Lines of errors count from 2. */
static inline json_t *json_load_padded(const char *text, size_t length, size_t padding, size_t flags, json_error_t *error) {
    padded_text t = {text, length, padding, 0};
    return json_load_callback(padded_read, &t, flags, error);
}
