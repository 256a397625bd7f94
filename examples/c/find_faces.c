/* Where the faces of a raw frame are, in C: find_faces GRAPHS WIDTH HEIGHT < frame */
#include <stdio.h>
#include <stdlib.h>
#include <trtswap.h>

static int failed(void) {
    fprintf(stderr, "%s\n", trtswap_last_error());
    return 1;
}

int main(int argc, char** argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: %s GRAPHS WIDTH HEIGHT < frame\n", argv[0]);
        return 2;
    }
    trtswap_graphs* graphs;
    if (trtswap_open(TRTSWAP_ABI, argv[1], NULL, &graphs) != TRTSWAP_OK) return failed();

    trtswap_image image = {sizeof(image), atoi(argv[2]), atoi(argv[3]), {NULL}, {0}};
    const size_t bytes = (size_t)image.width * image.height * 3;
    image.planes[0] = malloc(bytes);
    if (image.planes[0] == NULL || fread(image.planes[0], 1, bytes, stdin) != bytes) {
        fprintf(stderr, "the frame ends too soon\n");
        return 1;
    }
    trtswap_face faces[16];
    size_t count;
    if (trtswap_find(graphs, &image, faces, 16, &count) != TRTSWAP_OK) return failed();
    for (size_t i = 0; i < count; ++i)
        printf("%.1f %.1f %.1f %.1f score %.2f\n", faces[i].box[0], faces[i].box[1], faces[i].box[2], faces[i].box[3],
               faces[i].score);
    free(image.planes[0]);
    trtswap_close(graphs);
    return 0;
}
