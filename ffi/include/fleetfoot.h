/* Fleetfoot: on-device inference with signed int8 bundles, staged updates and fallback.
 *
 * The first ten lines:
 *
 *     ff_model *model;  ff_session *session;  void *in;  const void *out;  size_t n;
 *     ff_model_from_file("kws-1.2.0.ff", keys, 1, 1, &model, NULL);      // keys: 32 bytes each
 *     ff_session_create(model, NULL, &session, NULL);
 *     ff_session_input(session, 0, &in, &n, NULL);                       // where the input lies
 *     ff_session_output(session, 0, &out, &n, NULL);
 *     memcpy(in, samples, n_samples);                                    // before every run
 *     ff_session_run(session, NULL, NULL);
 *
 * HANDLES. A handle is a number in the shape of a pointer and is never followed. It is made by a function with an argument
 * `out` (which is set to NULL where the function fails), and closed by ff_*_release. A handle that was closed is answered with FF_ERR_CLOSED
 * for as long as the process lives: it may be used, and closed again, without harm; so may one be used while another thread closes
 * it. Closing waits for calls that are under way. NULL is answered with FF_ERR_NULL; closing NULL does nothing. Where pointers have 32 bits a
 * process can make 268 million handles of each kind, then FF_ERR_TOO_MANY.
 *
 * THREADS. Every function may be called from any thread. Calls on one session exclude one another: the second at the same time returns
 * FF_ERR_BUSY and does nothing. No thread of the library calls into the application: events are pulled.
 *
 * MEMORY. What the caller passes is borrowed for the call, unless it says otherwise (an arena, a bound buffer). Structs that a
 * caller fills or has filled begin with `struct_size`, to be set with FF_INIT or to sizeof; later versions add fields at the end. Text is UTF-8 and
 * ends with a zero byte.
 *
 * ERRORS. Functions return 0 (FF_OK) or a number that never changes its meaning: docs/errors.md lists all of them, the names below are those that
 * a program is likely to look at. The last argument may be NULL, or point to an ff_error of the caller that tells more; it is
 * written only when a call fails.
 *
 * UNITS. Lengths are bytes, times nanoseconds (`_ns`), milliseconds (`_ms`) or seconds since 1970 (`_s`, `_at`).
 */
#ifndef FLEETFOOT_H
#define FLEETFOOT_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && !defined(FF_STATIC)
#define FF_API __declspec(dllimport)
#elif defined(__GNUC__)
#define FF_API __attribute__((visibility("default")))
#else
#define FF_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A higher major number breaks, a higher minor number only adds. */
#define FF_ABI_MAJOR 1u
#define FF_ABI_MINOR 0u

/* (major << 16) | minor of the library that is linked. Look at it once, where the library is a shared one. */
FF_API uint32_t ff_abi_version(void);
/* Version of the library, such as "0.1.0". Static. */
FF_API const char *ff_version_string(void);

/* ---- status -------------------------------------------------------------------------------------------------------------- */

/* An open set: numbers without a name here are in docs/errors.md (1xx layout, 2xx trust and metadata, 3xx engine, 4xx updates, 6xx this). */
typedef int32_t ff_status;

enum {
    FF_OK = 0,
    FF_ERR_NUMBER_OF_KEYS = 200,
    FF_ERR_BAD_SIGNATURE = 204,
    FF_ERR_TOO_FEW_SIGNATURES = 205,
    FF_ERR_SECTION_HASH = 206,
    FF_ERR_ROLLBACK_ATTACK = 247,
    FF_ERR_EXPIRED = 251,
    FF_ERR_ARENA_TOO_SMALL = 306,
    FF_ERR_NO_SUCH_TENSOR = 307,
    FF_ERR_INPUT_LENGTH = 308,
    /* 401 to 417 are reasons: they stand in ff_event.code and ff_update_result.code. */
    FF_ERR_GOLDEN_MISMATCH = 401,
    FF_ERR_OVER_LATENCY = 402,
    FF_ERR_OVER_MEMORY = 403,
    FF_ERR_RUNTIME_TOO_OLD = 404,
    FF_ERR_BAD_INFERENCE = 406,
    FF_ERR_ROLLED_BACK = 411,
    FF_ERR_FILE = 420,
    FF_ERR_STORE_BUSY = 423,
    FF_ERR_MISSING = 428,
    FF_ERR_NOT_INSTALLED = 429,
    FF_ERR_NO_SUCH_VERSION = 430,
    FF_ERR_SINK = 431,
    FF_ERR_TRANSPORT = 432,
    FF_ERR_THREAD_COUNT = 433,
    FF_ERR_NULL = 600,          /* a pointer that is needed is NULL */
    FF_ERR_CLOSED = 601,        /* the handle was closed, or is none of this kind */
    FF_ERR_BUSY = 602,          /* another call is under way that excludes this one */
    FF_ERR_CANCELLED = 603,     /* the run was cancelled */
    FF_ERR_PANIC = 604,         /* a fault of the library; a session is good for nothing else afterwards */
    FF_ERR_STRUCT_SIZE = 605,   /* no version of the struct has this struct_size */
    FF_ERR_ARGUMENT = 606,      /* a value that is not allowed */
    FF_ERR_TEXT = 607,          /* not UTF-8 */
    FF_ERR_TIMEOUT = 608,       /* nothing happened in time */
    FF_ERR_LENGTH = 609,        /* a buffer has another length than is needed */
    FF_ERR_UNALIGNED = 610,     /* an address is not aligned as is needed */
    FF_ERR_TOO_MANY = 611,      /* a million handles of one kind are open */
    FF_ERR_NO_MODEL = 612,      /* the runtime has no model of this name */
    FF_ERR_IMAGE = 613,         /* this is no image, or the input takes none */
    FF_ERR_NO_REPOSITORY = 614, /* no repository was given: the poll has to be fed */
    FF_ERR_STOPPED = 615,       /* given up, because the runtime or the poll was closed */
    FF_ERR_TOO_SMALL = 616,     /* the answer does not fit into the buffer */
    FF_ERR_UNSUPPORTED = 617,   /* not on this system */
    FF_ERR_UNKNOWN = 649
};

/* The name above of a status, such as "FF_ERR_BUSY"; "FF_ERR_UNKNOWN" for others. Static. */
FF_API const char *ff_status_name(ff_status status);

/* No tensor is at fault. */
#define FF_NO_TENSOR UINT32_MAX
/* A number that means none where 0 means the default. */
#define FF_NONE UINT32_MAX

/* What a failed call tells. 256 bytes. */
typedef struct ff_error {
    uint32_t struct_size;
    ff_status status;      /* what the function returned */
    int32_t os_errno;      /* error number of the operating system, or 0 */
    uint32_t tensor_index; /* input or output at fault, or FF_NO_TENSOR */
    char message[240];     /* what was expected and what came, in English */
} ff_error;

/* Sets a struct to zeros and its size: `ff_error error; FF_INIT(&error);` */
#define FF_INIT(s) (ff_init_((s), sizeof *(s)))
static inline void ff_init_(void *s, size_t size) {
    unsigned char *bytes = (unsigned char *)s;
    size_t i;
    uint32_t *head = (uint32_t *)s;
    for (i = 0; i < size; i++) bytes[i] = 0;
    *head = (uint32_t)size;
}

/* ---- models -------------------------------------------------------------------------------------------------------------- */

typedef struct ff_runtime ff_runtime;
typedef struct ff_model ff_model;
typedef struct ff_session ff_session;
typedef struct ff_cancel ff_cancel;
typedef struct ff_update ff_update;
typedef struct ff_event_queue ff_event_queue;

/* A model from a signed bundle. `keys` are n_keys Ed25519 public keys of 32 bytes, of which `threshold` must have signed; signatures and hashes are
 * verified before anything is parsed. Models are immutable and may be shared by any number of sessions and threads.
 *
 * _from_file maps the file, which must not be changed while the model is in use. */
FF_API ff_status ff_model_from_file(const char *path, const uint8_t *keys, uint32_t n_keys, uint32_t threshold, ff_model **out, ff_error *error);
/* `length` bytes of an open file from `offset` on, such as an asset of an APK. The descriptor stays the caller's and may be closed afterwards. Where
 * `offset` is no multiple of 64 the bytes are copied once, otherwise they are mapped. */
FF_API ff_status ff_model_from_fd(int fd, uint64_t offset, uint64_t length, const uint8_t *keys, uint32_t n_keys, uint32_t threshold, ff_model **out, ff_error *error);
/* The bytes are copied once. */
FF_API ff_status ff_model_from_memory(const void *data, size_t length, const uint8_t *keys, uint32_t n_keys, uint32_t threshold, ff_model **out, ff_error *error);
/* Closes the handle. Sessions keep what they need of the model. */
FF_API void ff_model_release(ff_model *model);

typedef struct ff_model_info {
    uint32_t struct_size;
    uint32_t n_inputs;
    uint32_t n_outputs;
    uint64_t number;     /* release number */
    uint64_t arena_len;  /* bytes of arena that a session of one thread needs */
    const char *name;    /* lives until the model is released */
    const char *version; /* release label; lives until the model is released */
    uint8_t sha256[32];  /* of the bundle; the first call may read all of it */
} ff_model_info;

enum { FF_INT8 = 1, FF_UINT8 = 2, FF_INT32 = 3, FF_INT64 = 4, FF_FLOAT32 = 5 };

/* An input or output. Elements lie in the order of `dims`, outermost first (images: [n, h, w, c]), in the byte order of the machine.
 * real = (q - zero_point) * scale. */
typedef struct ff_tensor_info {
    uint32_t struct_size;
    int32_t dtype; /* FF_INT8 ... */
    uint32_t rank;
    uint32_t dims[6];
    float scale;
    int32_t zero_point;
    uint64_t byte_len;
    const char *name; /* in the source model; lives until the model is released */
} ff_tensor_info;

FF_API ff_status ff_model_get_info(const ff_model *model, ff_model_info *info, ff_error *error);
FF_API ff_status ff_model_input(const ff_model *model, uint32_t index, ff_tensor_info *info, ff_error *error);
FF_API ff_status ff_model_output(const ff_model *model, uint32_t index, ff_tensor_info *info, ff_error *error);

/* ---- sessions ------------------------------------------------------------------------------------------------------------ */

enum { FF_SESSION_TIMED = 1 /* read the clock around every run (some 50 ns), for ff_session_metrics */ };

typedef struct ff_session_options {
    uint32_t struct_size;
    uint32_t threads; /* that run, the caller's among them, 1 to 64; 0: 1. Outputs are the same bytes for any number. */
    uint32_t flags;   /* FF_SESSION_TIMED */
    uint32_t reserved;
    void *arena;      /* NULL, or memory of the caller at a multiple of 64, for tensors and scratch. It is filled with zeros, stays in use until the
                         session is closed, and stays the caller's: its tensors can still be read afterwards. */
    size_t arena_len; /* at least ff_model_info.arena_len, and more with threads: FF_ERR_ARENA_TOO_SMALL says how much */
} ff_session_options;

/* A session: one arena, one inference at a time. It keeps its model, also when another version takes over. `options` may be NULL. */
FF_API ff_status ff_session_create(const ff_model *model, const ff_session_options *options, ff_session **out, ff_error *error);
/* Waits for a run that is under way. Places of inputs and outputs are gone, unless the arena is the caller's. */
FF_API void ff_session_release(ff_session *session);

/* Where an input or output lies: at a multiple of 16 in memory, until the session is closed. Nothing is copied and a run costs nothing more: write the
 * input there before every run (a run may overwrite it), read the output there after it (the next run, or writing an input, may overwrite it). */
FF_API ff_status ff_session_input(ff_session *session, uint32_t index, void **data, size_t *len, ff_error *error);
FF_API ff_status ff_session_output(ff_session *session, uint32_t index, const void **data, size_t *len, ff_error *error);

/* Binds a buffer of the caller, of any alignment, until the session is closed or another one, or NULL, is bound. Every run copies it once, in before it
 * and out after it; runs leave bound inputs as they are. `len` must be the tensor's byte_len. */
FF_API ff_status ff_session_bind_input(ff_session *session, uint32_t index, const void *data, size_t len, ff_error *error);
FF_API ff_status ff_session_bind_output(ff_session *session, uint32_t index, void *data, size_t len, ff_error *error);

/* One inference. It allocates nothing. `cancel` may be NULL; otherwise it is looked at before every layer, and the run ends with FF_ERR_CANCELLED. */
FF_API ff_status ff_session_run(ff_session *session, ff_cancel *cancel, ff_error *error);

/* n inferences in one call, spread over the threads of the session. inputs[i] points to input i of all items, one behind the other, outputs[i] to room
 * for output i of all items. Items are copied in and out once; memory for the results is allocated. What is bound is not used. */
FF_API ff_status ff_session_run_batch(ff_session *session, size_t n, const void *const *inputs, void *const *outputs, ff_error *error);

typedef struct ff_run_metrics {
    uint32_t struct_size;
    uint32_t timed_runs; /* runs that the times are of, at most the last 512; 0 without FF_SESSION_TIMED */
    uint64_t runs;       /* runs that came to their end, of batches each item */
    uint64_t arena_len;  /* bytes */
    uint64_t last_ns, min_ns, p50_ns, p95_ns, p99_ns, max_ns;
} ff_run_metrics;

FF_API ff_status ff_session_metrics(ff_session *session, ff_run_metrics *metrics, ff_error *error);

/* A flag that ends runs from another thread. Closing waits for runs that look at it. */
FF_API ff_status ff_cancel_create(ff_cancel **out);
FF_API ff_status ff_cancel_set(ff_cancel *cancel, int32_t cancelled);
FF_API void ff_cancel_release(ff_cancel *cancel);

/* ---- images -------------------------------------------------------------------------------------------------------------- */

enum {
    FF_RGBA8888 = 1, /* one plane, 4 bytes a pixel; alpha is ignored */
    FF_BGRA8888 = 2,
    FF_NV12 = 3, /* two planes: luma; pairs (u, v) for each 2 x 2 pixels */
    FF_NV21 = 4  /* the same with pairs (v, u) */
};
enum { FF_NEAREST = 0, FF_BILINEAR = 1 };

typedef struct ff_image {
    uint32_t struct_size;
    int32_t format; /* FF_RGBA8888 ... */
    uint32_t width; /* 1 to 32768, before the turn */
    uint32_t height;
    uint32_t stride[2];        /* bytes from one row of a plane to the next */
    uint32_t rotation_degrees; /* turn it clockwise by 0, 90, 180 or 270 first */
    int32_t filter;            /* FF_NEAREST or FF_BILINEAR */
    uint32_t full_range;       /* YUV only. 1: values use 0 to 255 (cameras of phones), 0: 16 to 235 (video); BT.601 */
    uint32_t reserved;
    const uint8_t *plane[2];
    float mean[3]; /* real = (pixel - mean) / std, for red, green, blue of 0 to 255 ... */
    float std[3];  /* ... all 0: the model takes pixels as they are (int8: pixel - 128) */
} ff_image;

/* Makes an image the content of an input of shape [1, h, w, 3] (RGB) or [1, h, w, 1] (grey): turned, stretched to h x w, normalised, quantized with the
 * scale of the input. In one pass, with integers: all devices get the same bytes. A buffer that is bound to this input is unbound.
 * Where the bundle says itself how an image becomes its input, it is turned and then prepared as the bundle says: filter, mean and std are not looked at. */
FF_API ff_status ff_session_set_image(ff_session *session, uint32_t index, const ff_image *image, ff_error *error);

/* ---- runtimes: a store, and models that are kept up to date. Not in a library that was built without updates. ------------------- */

typedef struct ff_model_options {
    uint32_t struct_size;
    uint32_t attempts;        /* deaths of the process that a new version may cause; 0: 2 */
    uint32_t min_inferences;  /* good inferences that a trial needs; 0: 500 */
    uint32_t health_window_s; /* that a trial takes at least; 0: 6 hours, FF_NONE: none */
    const char *name;         /* of the model */
    const char *repository;   /* http://... (https:// where it was built in), a folder, or NULL: then polls are fed */
    const uint8_t *root_json; /* the first root metadata, which comes with the application and never from the network */
    size_t root_json_len;
    const char *factory_path;    /* bundle that came with the application, or NULL */
    const uint8_t *factory_keys; /* its keys */
    uint32_t n_factory_keys;
    uint32_t factory_threshold;
    uint32_t checkpoint; /* good inferences after which the counters of a trial are made durable; 0: only at its end */
    uint32_t slots;      /* versions on the device, a candidate among them; 0: 6 */
} ff_model_options;

typedef struct ff_runtime_options {
    uint32_t struct_size;
    uint32_t n_models;              /* 1 to 256 */
    const char *store_dir;          /* folder that only this runtime writes; <store_dir>/<name> for each model */
    const ff_model_options *models; /* one behind the other */
    uint64_t reserved;
} ff_runtime_options;

/* Opens the store and goes on from what is there; needs no network. FF_ERR_STORE_BUSY where another process, or another runtime, has it. */
FF_API ff_status ff_runtime_open(const ff_runtime_options *options, ff_runtime **out, ff_error *error);
/* Gives up polls that are under way, and waits for them. Models and sessions that came from it live on. */
FF_API void ff_runtime_release(ff_runtime *runtime);

/* The version that serves now, pinned: the handle means this version as long as it is open. Never waits for a poll. FF_ERR_NOT_INSTALLED where none is. */
FF_API ff_status ff_model_active(ff_runtime *runtime, const char *name, ff_model **out, ff_error *error);

/* Says that an inference of a model of this runtime was good (1) or bad (0). It counts where that version is on trial: enough good ones make it
 * active, a bad one ends the trial, and the previous version serves again. Cheap otherwise. Never waits for a poll. */
FF_API ff_status ff_outcome(ff_runtime *runtime, const ff_model *model, int32_t good, ff_error *error);
/* Vouches for the version on trial: it becomes active now. FF_ERR_BUSY during a poll. */
FF_API ff_status ff_confirm_healthy(ff_runtime *runtime, const char *name, ff_error *error);
/* Goes back, or forth, to a version that is kept: a release label, a release number, the beginning of a SHA-256 (8 digits or more), or "factory".
 * Needs no network. FF_ERR_BUSY during a poll. */
FF_API ff_status ff_rollback(ff_runtime *runtime, const char *name, const char *to, ff_error *error);
/* {"models":[{"name","serving":{"version","number","sha256","trial"},"candidate":{"phase","code","attempts_left"},"versions":[{...,"role"}]}]} with a
 * zero byte behind it. `need` gets the bytes of all that; buffer NULL and len 0 only ask for it. During a poll: as it was before. */
FF_API ff_status ff_status_json(ff_runtime *runtime, char *buffer, size_t len, size_t *need, ff_error *error);

/* ---- updates ------------------------------------------------------------------------------------------------------------- */

enum {
    FF_UPDATE_UP_TO_DATE = 0, /* nothing newer may be taken */
    FF_UPDATE_STAGED = 1,     /* a version waits for ff_update_activate */
    FF_UPDATE_TRIAL = 2,      /* a version serves on trial */
    FF_UPDATE_ACTIVE = 3,     /* a version became active */
    FF_UPDATE_REJECTED = 4,   /* a version is out: `code` says why */
    FF_UPDATE_DEFERRED = 5,   /* a version waits until `retry_at`: `code` says why */
    FF_UPDATE_OTHER = 6       /* something that later versions know */
};

typedef struct ff_update_result {
    uint32_t struct_size;
    int32_t kind;
    int32_t code; /* reason, 401 to 417, or 0 */
    uint32_t reserved;
    uint64_t number; /* release number */
    int64_t retry_at;
    char version[72]; /* release label */
    char text[248];   /* the same for people */
} ff_update_result;

/* One poll: fetch and verify the metadata, fetch the newest release that may be taken, verify it, run its golden vectors on this device within its budgets,
 * and let it serve on trial. Blocks for as long as that takes; what serves is untouched until the end. A poll that could not be finished returns why, and
 * the next one goes on where it stopped. `now_s` is the time, or 0: the clock of the system. A second poll of the model returns FF_ERR_BUSY. */
FF_API ff_status ff_update_poll(ff_runtime *runtime, const char *name, int64_t now_s, ff_update_result *result, ff_error *error);
/* As ff_update_poll up to the trial: a version that is admitted waits for ff_update_activate, over restarts, too. */
FF_API ff_status ff_update_stage(ff_runtime *runtime, const char *name, int64_t now_s, ff_update_result *result, ff_error *error);
/* Lets the version that is staged serve on trial; FF_UPDATE_UP_TO_DATE where there is none. Needs no network. FF_ERR_BUSY during a poll. */
FF_API ff_status ff_update_activate(ff_runtime *runtime, const char *name, ff_update_result *result, ff_error *error);

/* A poll whose files the application brings, with whatever fetches files on its platform:
 *
 *     ff_update_begin(runtime, "kws", 0, 0, &update, NULL);
 *     while (ff_update_next(update, &request, &result, NULL) == FF_OK && request.path != NULL) {
 *         GET base + request.path, from request.offset on, at most request.max_len bytes in the whole file:
 *             ff_update_feed(update, bytes, n, NULL) for each piece, in order; if it fails, stop
 *         ff_update_answer(update, FF_ANSWER_WHOLE, 0, NULL, NULL);
 *     }
 *     ff_update_release(update);
 */
typedef struct ff_request {
    uint32_t struct_size;
    uint32_t reserved;
    uint64_t offset;  /* bytes at the front that are there already: feed what follows */
    uint64_t max_len; /* bytes that the whole file may have */
    const char *path; /* relative, without a leading slash; NULL: the poll is over. Lives until the next call of ff_update_next. */
    const char *etag; /* tag of a copy that is there already (If-None-Match), or NULL; lives as long */
} ff_request;

enum {
    FF_ANSWER_WHOLE = 0,        /* everything from the offset on was fed; `etag` may be its tag */
    FF_ANSWER_NOT_MODIFIED = 1, /* the copy with the tag still holds */
    FF_ANSWER_MISSING = 2,      /* there is no such file (403, 404, 410) */
    FF_ANSWER_FAILED = 3        /* it could not be fetched; `http_status` or 0 */
};

/* `stage` not 0: as ff_update_stage, else as ff_update_poll. A thread of the library waits for the files until the poll is over or closed. */
FF_API ff_status ff_update_begin(ff_runtime *runtime, const char *name, int32_t stage, int64_t now_s, ff_update **out, ff_error *error);
/* Waits for the next file that is asked for; where request->path is NULL the poll is over and `result` says with what. Fails as ff_update_poll would. */
FF_API ff_status ff_update_next(ff_update *update, ff_request *request, ff_update_result *result, ff_error *error);
/* Bytes of the file that is asked for; they are written before it returns. After an error (no space is left, or the file is longer than max_len) the file needs no answer:
   ask for the next one. One thread feeds and answers at a time: to another one that is FF_ERR_BUSY, and changes nothing. */
FF_API ff_status ff_update_feed(ff_update *update, const uint8_t *data, size_t len, ff_error *error);
FF_API ff_status ff_update_answer(ff_update *update, int32_t answer, uint32_t http_status, const char *etag, ff_error *error);
/* Gives the poll up, if it is not over, and waits for its thread. What was fetched is kept. */
FF_API void ff_update_release(ff_update *update);

/* ---- events -------------------------------------------------------------------------------------------------------------- */

enum {
    FF_EVENT_OTHER = 0, /* one that later versions know */
    FF_EVENT_REFRESHED = 1,
    FF_EVENT_OFFERED = 2,
    FF_EVENT_FETCHING = 3, /* a: bytes that are there already, b: bytes in all */
    FF_EVENT_FETCHED = 4,
    FF_EVENT_VALIDATED = 5, /* a: p99 in microseconds, b: bytes of arena */
    FF_EVENT_STAGED = 6,
    FF_EVENT_TRIAL = 7,
    FF_EVENT_ACTIVE = 8,
    FF_EVENT_REJECTED = 9,  /* code: why */
    FF_EVENT_DEFERRED = 10, /* code: why, a: when it goes on */
    FF_EVENT_WITHDRAWN = 11,
    FF_EVENT_ROLLED_BACK = 12,
    FF_EVENT_FELL_BACK = 13, /* version: what serves now, or none */
    FF_EVENT_SKIPPED = 14,
    FF_EVENT_STATE_LOST = 15,
    FF_EVENT_FAILED = 16,
    FF_EVENT_DROPPED = 17, /* a: how many events this queue had no room for */
    FF_EVENT_ASSIGNED = 18 /* the part of this device in a rollout is another one */
};

typedef struct ff_event {
    uint32_t struct_size;
    int32_t kind;
    uint64_t seq; /* counts the events of the runtime, from 1; 0 for FF_EVENT_DROPPED */
    int32_t code;
    uint32_t reserved;
    uint64_t number; /* release number of the version that it is about, or 0 */
    uint64_t a, b;
    char model[72];
    char version[72]; /* release label of the version that it is about, or empty */
    char text[240];   /* the same for people */
} ff_event;

/* A queue of all events from now on; the first queue of a runtime also gets those of its opening. It keeps the newest `capacity` events; 0: 256. */
FF_API ff_status ff_events_subscribe(ff_runtime *runtime, uint32_t capacity, ff_event_queue **out, ff_error *error);
/* The next event. timeout_ms: how long to wait; 0: not at all (FF_ERR_TIMEOUT), negative: until there is one. FF_ERR_CLOSED once the queue or its runtime
 * is closed and nothing is left in it. */
FF_API ff_status ff_events_next(ff_event_queue *queue, ff_event *event, int32_t timeout_ms);
/* Wakes who waits, with FF_ERR_CLOSED. */
FF_API void ff_events_release(ff_event_queue *queue);

#ifdef __cplusplus
}
#endif
#endif /* FLEETFOOT_H */
