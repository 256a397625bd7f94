/* trtswap: faces swapped in frames, by the graphs that `trtswap embed` writes. The C interface.
 *
 * Rules that hold for all of it:
 *  - A function that can fail returns a trtswap_status; trtswap_last_error() tells the calling thread why.
 *  - Handles are opaque, may be used by several threads at once, and are checked: one that was closed is an error.
 *  - Nothing here prints, exits, installs a signal handler, or lets an exception out.
 *  - Coordinates are pixels of the frame, x to the right, y down, the centre of the first pixel at (0, 0).
 *  - Structures begin with their own size in bytes, so that later versions can add to them.
 */
#ifndef TRTSWAP_H
#define TRTSWAP_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define TRTSWAP_API __declspec(dllexport)
#else
#define TRTSWAP_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define TRTSWAP_ABI 1u
#define TRTSWAP_POINTS 478

typedef enum trtswap_status {
    TRTSWAP_OK = 0,
    TRTSWAP_ARGUMENT = 1,  /* an argument that makes no sense; the message names it */
    TRTSWAP_FOLDER = 2,    /* the folder of graphs is missing, damaged or of another version */
    TRTSWAP_RUNTIME = 3,   /* ONNX Runtime or one of its providers failed */
    TRTSWAP_CANCELLED = 4, /* trtswap_cancel was called, or a progress callback asked for it */
    TRTSWAP_NO_FACE = 5,   /* a source picture shows no face */
    TRTSWAP_MEMORY = 6
} trtswap_status;

typedef enum trtswap_format { TRTSWAP_RGB = 0, TRTSWAP_BGR = 1, TRTSWAP_NV12 = 2, TRTSWAP_I420 = 3 } trtswap_format;

/* Where planes lie. CUDA: on the GPU that the graphs were opened on. */
typedef enum trtswap_memory { TRTSWAP_HOST = 0, TRTSWAP_CUDA = 1 } trtswap_memory;

typedef struct trtswap_graphs trtswap_graphs; /* an opened folder */
typedef struct trtswap_person trtswap_person; /* who to show, or whom to look for */
typedef struct trtswap_stream trtswap_stream; /* faces of a live stream over time */

/* level: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal. Called by any thread. */
typedef void (*trtswap_log)(void* user, int level, const char* message);
/* While a folder is opened: how many of how many graphs are. Anything but 0 stops it. */
typedef int (*trtswap_progress)(void* user, size_t done, size_t of, const char* what);

typedef struct trtswap_options {
    uint32_t struct_size;
    /* In order of preference: "cuda", "tensorrt", "nv_tensorrt_rtx", "openvino", "cpu", or ONNX Runtime's own names of
     * others. The first that opens is taken; none given is "cpu". Only what is named is tried. */
    const char* const* providers;
    size_t provider_count;
    int32_t threads; /* of each call on a CPU; 0: ONNX Runtime's choice */
    trtswap_log log;
    trtswap_progress progress;
    void* user; /* given to both callbacks */
    int32_t device; /* which GPU */
    /* A cudaStream_t, on which all work is queued. What writes to CUDA memory then returns as soon as it is queued, and
     * frames need only be ready on the stream. NULL: frames have to be ready, and are when a call returns. */
    void* cuda_stream;
} trtswap_options;

typedef struct trtswap_description {
    uint32_t struct_size;
    trtswap_format format;
    int32_t width, height;  /* of frames; 0: any */
    int32_t slots;          /* most faces of a call */
    int32_t window;         /* pixels around a face; 0: as many as it needs */
    float min_face;         /* side of a box, pixels, below which faces are better left alone */
    float similarity;       /* lowest cosine that is the same person; below -1: these graphs cannot tell people apart */
    const char* provider;   /* that was taken */
    const char* pack;       /* these live as long as the graphs */
    const char* licence;
} trtswap_description;

/* Planes as the format has them: one of 3 bytes a pixel; y and uv; or y, u, v. */
typedef struct trtswap_image {
    uint32_t struct_size;
    int32_t width, height;
    void* planes[3];
    size_t strides[3]; /* bytes from a row to the next; 0: no gaps */
    trtswap_memory memory;
} trtswap_image;

typedef struct trtswap_face {
    float box[4];          /* x1 y1 x2 y2 */
    float landmarks[5][2]; /* right eye, left eye, nose, right and left corner of the mouth */
    float score;           /* 0..1 */
    float side;            /* of the square that swapping it needs, pixels */
    float fit;             /* 0..1, how well the points fit; 0: there are none */
    int64_t track;         /* the same number for the same person over time; -1: not tracked */
    float points[TRTSWAP_POINTS][3];
} trtswap_face;

/* Who is shown in a stream. With references whoever looks like one gets its source; without, everybody gets the first. */
typedef struct trtswap_stream_options {
    uint32_t struct_size;
    const trtswap_person* const* sources;
    const trtswap_person* const* references; /* as many as sources, or NULL */
    size_t source_count;
    float steadiness; /* 0: landmarks as they are found, 1: as still as can be without lag; below 0: 0.75 */
    float min_face;   /* below 0: what the graphs say */
    float similarity; /* below -1: what the graphs say */
    int32_t hold;     /* a face missed in at most so many frames stays where it was; below 0: 3 */
} trtswap_stream_options;

/* The version of this interface that the library has: TRTSWAP_ABI of its header. */
TRTSWAP_API uint32_t trtswap_abi(void);
/* Why the last call of this thread failed; empty if none did. */
TRTSWAP_API const char* trtswap_last_error(void);

/* abi: TRTSWAP_ABI. options: NULL for the CPU. */
TRTSWAP_API trtswap_status trtswap_open(uint32_t abi, const char* folder, const trtswap_options* options,
                                        trtswap_graphs** graphs);
/* Persons and streams made with them go on working until they are closed themselves. */
TRTSWAP_API trtswap_status trtswap_close(trtswap_graphs* graphs);
TRTSWAP_API trtswap_status trtswap_describe(const trtswap_graphs* graphs, trtswap_description* description);
/* Stops the calls that run on these graphs, which return TRTSWAP_CANCELLED; later ones run. */
TRTSWAP_API trtswap_status trtswap_cancel(trtswap_graphs* graphs);

/* count: how many were found, at most capacity and the graphs' slots; the best first. */
TRTSWAP_API trtswap_status trtswap_find(trtswap_graphs* graphs, const trtswap_image* frame, trtswap_face* faces,
                                        size_t capacity, size_t* count);

/* One person of pictures, RGB of 3 bytes a pixel whatever the graphs' format, of any size; the best face of each. Graphs
 * that take a picture itself (pack mesh) show a face the one whose pose is nearest. */
TRTSWAP_API trtswap_status trtswap_person_of_pictures(trtswap_graphs* graphs, const trtswap_image* pictures,
                                                      size_t count, trtswap_person** person);
/* A person as a frame shows him. */
TRTSWAP_API trtswap_status trtswap_person_of_face(trtswap_graphs* graphs, const trtswap_image* frame,
                                                  const trtswap_face* face, trtswap_person** person);
/* Cosine, -1..1. */
TRTSWAP_API trtswap_status trtswap_person_similarity(const trtswap_person* one, const trtswap_person* other,
                                                     float* cosine);
TRTSWAP_API trtswap_status trtswap_person_close(trtswap_person* person);

/* Swaps faces of a frame. output may be the input. persons: one for each face, NULL leaves it alone. strengths: 0..1 for
 * each, or NULL for 1. count: at most the graphs' slots. Only pixels of faces change. */
TRTSWAP_API trtswap_status trtswap_swap(trtswap_graphs* graphs, const trtswap_image* input, const trtswap_image* output,
                                        const trtswap_face* faces, const trtswap_person* const* persons,
                                        const float* strengths, size_t count);

TRTSWAP_API trtswap_status trtswap_stream_open(trtswap_graphs* graphs, const trtswap_stream_options* options,
                                               trtswap_stream** stream);
TRTSWAP_API trtswap_status trtswap_stream_close(trtswap_stream* stream);
/* The next frame: found, followed, steadied, assigned, swapped. faces, if not NULL, gets those of the frame, of which
 * count are; it has room for the graphs' slots. Frames of a stream come in order, from one thread at a time. */
TRTSWAP_API trtswap_status trtswap_stream_swap(trtswap_stream* stream, const trtswap_image* input,
                                               const trtswap_image* output, trtswap_face* faces, size_t* count);
/* Following alone, for who finds faces himself: in count faces of the next frame, out those that are to be shown, with
 * their tracks, steadied; capacity: room in faces. */
TRTSWAP_API trtswap_status trtswap_stream_track(trtswap_stream* stream, trtswap_face* faces, size_t capacity,
                                                size_t* count);
/* The next frame begins a new shot: nobody is followed into it. */
TRTSWAP_API trtswap_status trtswap_stream_cut(trtswap_stream* stream);

#ifdef __cplusplus
}
#endif
#endif
