/* What a plug-in for ranks gives the library: messages between processes, over one MPI.
 *
 * The library has no MPI in it: it loads libdiffaccel_mpi.so (Plugins/mpi), looks up `diffaccel_ranks_plugin` and uses what it
 * gives. None of the functions waits, but `join` and `leave`. They may be called by any thread, one at a time. */
#ifndef RANKS_PLUGIN_H
#define RANKS_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

/* Changes whenever the structure or the meaning of a member does. */
enum { RANKS_PLUGIN_ABI = 1 };

/* How far a request is. */
enum { RANKS_PENDING = 0, RANKS_DONE = 1, RANKS_WITHDRAWN = 2 };

/* Failed; `failure` says why. */
enum { RANKS_FAILED = -1 };

/* Every function is there: Swift need not look. */
#ifdef __clang__
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wnullability-completeness"
#define RANKS_THERE _Nonnull
#else
#define RANKS_THERE
#endif

typedef struct ranks_plugin {
    int32_t abi;
    int32_t tag_bound;                     /* largest tag, known after `join` */
    const char *(*RANKS_THERE name)(void); /* such as "Open MPI v4.1.4"; valid forever */
    /* Joins the processes that were started together; the first call counts. 0, or RANKS_FAILED. All processes have to call it.
     */
    int32_t (*RANKS_THERE join)(int32_t *rank, int32_t *count);
    /* Ends it: `orderly` when all processes do. What MPI was initialised by `join` is finalised then. */
    void (*RANKS_THERE leave)(int32_t orderly);

    /* Begin to send or receive `count` bytes (below 2^31), which must stay where they are until `state` gives something else
     * than RANKS_PENDING. A request's number, or RANKS_FAILED. */
    int32_t (*RANKS_THERE send)(const void *bytes, int64_t count, int32_t to, int32_t tag);
    int32_t (*RANKS_THERE receive)(void *bytes, int64_t count, int32_t from, int32_t tag);
    /* One of the states, or RANKS_FAILED; a request that is not pending is forgotten. `count`: the bytes that came. */
    int32_t (*RANKS_THERE state)(int32_t request, int64_t *count);
    /* Withdraws a receive unless something has come for it. */
    void (*RANKS_THERE withdraw)(int32_t request);
    /* Whether a message from a rank waits for a receive: 1 with the oldest one's tag and size, 0, or RANKS_FAILED. */
    int32_t (*RANKS_THERE waiting)(int32_t from, int32_t *tag, int64_t *count);

    /* Sends a control message, whose bytes are copied. 0, or RANKS_FAILED. */
    int32_t (*RANKS_THERE tell)(const void *bytes, int64_t count, int32_t to);
    /* The size of the next control message, which is put into `bytes` if it fits into `room`, and else stays the next one; 0
     * when there is none, or RANKS_FAILED. */
    int64_t (*RANKS_THERE heard)(int32_t *from, void *bytes, int64_t room);

    /* Seconds since the last sign of life of a rank; 0 for this one. */
    double (*RANKS_THERE silence)(int32_t rank);
    /* Why the last call of this thread failed. */
    const char *(*RANKS_THERE failure)(void);
} ranks_plugin;

/* The name under which a plug-in exports a function that gives the structure. */
#define RANKS_PLUGIN_FUNCTION "diffaccel_ranks_plugin"
typedef const ranks_plugin *(*ranks_plugin_function)(void);
#ifdef __clang__
#pragma clang diagnostic pop
#endif

#endif
