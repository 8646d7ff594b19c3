/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * heat2d: heat spreads over a plate, computed by a grid of MPI ranks, with checkpoints through SCR.
 *
 * What to look at, in the order in which a program of your own would need it:
 *   main               where SCR starts, where it ends, and the loop in between
 *   write_checkpoint   SCR_Start_output, SCR_Route_file, SCR_Complete_output
 *   restart            SCR_Have_restart, SCR_Start_restart, SCR_Route_file, SCR_Complete_restart
 * The rest is an ordinary MPI program.
 *
 *   mpicc -O2 heat2d.c -o heat2d -lscr
 *   mpirun -n 4 ./heat2d -n 4096x2048 -s 400 -c 20
 *
 * Run it in the directory that SCR_PREFIX names (by default the current one). Kill it, run it again: it goes on from the
 * last checkpoint and ends with the same checksum as a run that was never killed.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <inttypes.h>
#include <mpi.h>
#include <scr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* How much heat crosses between two cells in one step; the scheme is stable up to 0.25. */
#define RATE 0.2

enum direction { UP, DOWN, LEFT, RIGHT };

/* What the command line says. */
struct options {
    int rows, columns; /* the whole field */
    int steps;
    int checkpoint_every; /* 0: only when SCR asks for one */
    int pause_ms;
};

/* One rank's block of the field, with a border of one cell for the neighbours' values. */
struct block {
    MPI_Comm grid;
    int rank, ranks;
    int neighbour[4];         /* MPI_PROC_NULL at the edge of the plate */
    int first_row, rows;      /* of the whole field: first_row .. first_row + rows - 1 */
    int first_column, columns;
    int stride;               /* doubles from one row to the next */
    double *now, *next;
    MPI_Datatype column;
};

/* What stands before the values in a checkpoint file. Files are read where they were written: no byte order. */
struct header {
    char magic[8];
    int64_t step;
    int64_t first_row, rows, first_column, columns;
};

static const char MAGIC[8] = "heat2d1";

/* Prints one line from rank 0, at once, so that it is seen even if the job is killed right after. */
#define SAY(block, ...)             \
    do {                            \
        if ((block)->rank == 0) {   \
            printf("heat2d: ");     \
            printf(__VA_ARGS__);    \
            printf("\n");           \
            fflush(stdout);         \
        }                           \
    } while (0)

/* ---- the plate ---- */

static double *cell(const struct block *block, double *values, int row, int column)
{
    return values + (size_t)(row + 1) * (size_t)block->stride + (size_t)(column + 1);
}

/* Cuts the field into a grid of blocks, as square as the number of ranks allows. Returns 0 if a block would be empty. */
static int make_block(struct block *block, const struct options *options)
{
    int dims[2] = {0, 0}, periods[2] = {0, 0}, place[2];
    MPI_Comm_size(MPI_COMM_WORLD, &block->ranks);
    MPI_Dims_create(block->ranks, 2, dims);
    /* No reordering: after a restart, rank r must own the block whose file rank r wrote. */
    MPI_Cart_create(MPI_COMM_WORLD, 2, dims, periods, 0, &block->grid);
    MPI_Comm_rank(block->grid, &block->rank);
    MPI_Cart_coords(block->grid, block->rank, 2, place);
    MPI_Cart_shift(block->grid, 0, 1, &block->neighbour[UP], &block->neighbour[DOWN]);
    MPI_Cart_shift(block->grid, 1, 1, &block->neighbour[LEFT], &block->neighbour[RIGHT]);

    block->first_row = (int)((int64_t)options->rows * place[0] / dims[0]);
    block->rows = (int)((int64_t)options->rows * (place[0] + 1) / dims[0]) - block->first_row;
    block->first_column = (int)((int64_t)options->columns * place[1] / dims[1]);
    block->columns = (int)((int64_t)options->columns * (place[1] + 1) / dims[1]) - block->first_column;
    block->stride = block->columns + 2;
    MPI_Type_vector(block->rows, 1, block->stride, MPI_DOUBLE, &block->column);
    MPI_Type_commit(&block->column);

    /* The border of zeros at the edge of the plate is never written: the edge is kept cold. */
    size_t cells = (size_t)(block->rows + 2) * (size_t)block->stride;
    block->now = calloc(cells, sizeof(double));
    block->next = calloc(cells, sizeof(double));
    int good = block->rows > 0 && block->columns > 0 && block->now != NULL && block->next != NULL;
    MPI_Allreduce(MPI_IN_PLACE, &good, 1, MPI_INT, MPI_LAND, block->grid);
    return good;
}

static void free_block(struct block *block)
{
    free(block->now);
    free(block->next);
    MPI_Type_free(&block->column);
    MPI_Comm_free(&block->grid);
}

/* A warm hill in the middle, a hot square in a corner, and a grain that is different in every cell. */
static void heat_up(struct block *block, const struct options *options)
{
    for (int i = 0; i < block->rows; i++) {
        for (int j = 0; j < block->columns; j++) {
            int row = block->first_row + i, column = block->first_column + j;
            double y = (row + 0.5) / options->rows, x = (column + 0.5) / options->columns;
            uint32_t grain = (uint32_t)row * 2654435761u ^ (uint32_t)column * 2246822519u;
            grain = (grain ^ grain >> 15) * 3266489917u;
            double value = 1600.0 * x * (1 - x) * y * (1 - y) + (grain >> 8) * 0x1p-24;
            if (x < 0.25 && y < 0.25) {
                value += 500.0;
            }
            *cell(block, block->now, i, j) = value;
        }
    }
}

/* Brings the neighbours' edges into the border. */
static void exchange_borders(struct block *block)
{
    double *v = block->now;
    int rows = block->rows, columns = block->columns;
    const int *to = block->neighbour;
    MPI_Sendrecv(cell(block, v, 0, 0), columns, MPI_DOUBLE, to[UP], UP,
                 cell(block, v, rows, 0), columns, MPI_DOUBLE, to[DOWN], UP, block->grid, MPI_STATUS_IGNORE);
    MPI_Sendrecv(cell(block, v, rows - 1, 0), columns, MPI_DOUBLE, to[DOWN], DOWN,
                 cell(block, v, -1, 0), columns, MPI_DOUBLE, to[UP], DOWN, block->grid, MPI_STATUS_IGNORE);
    MPI_Sendrecv(cell(block, v, 0, 0), 1, block->column, to[LEFT], LEFT,
                 cell(block, v, 0, columns), 1, block->column, to[RIGHT], LEFT, block->grid, MPI_STATUS_IGNORE);
    MPI_Sendrecv(cell(block, v, 0, columns - 1), 1, block->column, to[RIGHT], RIGHT,
                 cell(block, v, 0, -1), 1, block->column, to[LEFT], RIGHT, block->grid, MPI_STATUS_IGNORE);
}

/* One explicit step: every cell moves towards the mean of its four neighbours. */
static void step_forward(struct block *block)
{
    exchange_borders(block);
    for (int i = 0; i < block->rows; i++) {
        const double *above = cell(block, block->now, i - 1, 0);
        const double *here = cell(block, block->now, i, 0);
        const double *below = cell(block, block->now, i + 1, 0);
        double *out = cell(block, block->next, i, 0);
        for (int j = 0; j < block->columns; j++) {
            double flow = above[j] + below[j] + here[j - 1] + here[j + 1] - 4 * here[j];
            out[j] = here[j] + RATE * flow;
        }
    }
    double *old = block->now;
    block->now = block->next;
    block->next = old;
}

/* FNV-1a over bytes. */
static uint64_t fnv64(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

/* The hash, on rank 0, of the hashes of all blocks in the order of ranks. */
static uint64_t checksum(struct block *block)
{
    const uint64_t empty = UINT64_C(0xcbf29ce484222325);
    uint64_t mine = empty;
    for (int i = 0; i < block->rows; i++) {
        mine = fnv64(mine, cell(block, block->now, i, 0), (size_t)block->columns * sizeof(double));
    }
    uint64_t *all = calloc((size_t)block->ranks, sizeof(uint64_t));
    if (all == NULL) {
        MPI_Abort(MPI_COMM_WORLD, 1);
        return 0;
    }
    MPI_Gather(&mine, 1, MPI_UINT64_T, all, 1, MPI_UINT64_T, 0, block->grid);
    uint64_t whole = fnv64(empty, all, (size_t)block->ranks * sizeof(uint64_t));
    free(all);
    return whole;
}

/* ---- files ---- */

static struct header header_of(const struct block *block, int step)
{
    struct header header;
    memset(&header, 0, sizeof(header));
    memcpy(header.magic, MAGIC, sizeof(MAGIC));
    header.step = step;
    header.first_row = block->first_row;
    header.rows = block->rows;
    header.first_column = block->first_column;
    header.columns = block->columns;
    return header;
}

/* Makes the directories above a file. SCR has made them already, except with SCR_ENABLE=0. */
static void make_directories(const char *file)
{
    char path[SCR_MAX_FILENAME];
    snprintf(path, sizeof(path), "%s", file);
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0777); /* may exist; if it could not be made, fopen will say so */
        *slash = '/';
    }
}

/*
 * Returns 1 if everything was written. Check every call, fclose too: a full disk may show only there, and what SCR is told
 * is valid, SCR protects.
 */
static int write_file(struct block *block, int step, const char *file)
{
    make_directories(file);
    FILE *out = fopen(file, "wb");
    if (out == NULL) {
        fprintf(stderr, "heat2d: rank %d: open %s: %s\n", block->rank, file, strerror(errno));
        return 0;
    }
    struct header header = header_of(block, step);
    size_t columns = (size_t)block->columns;
    int good = fwrite(&header, sizeof(header), 1, out) == 1;
    for (int i = 0; good && i < block->rows; i++) {
        good = fwrite(cell(block, block->now, i, 0), sizeof(double), columns, out) == columns;
    }
    good = (fclose(out) == 0) && good;
    if (!good) {
        fprintf(stderr, "heat2d: rank %d: write %s: %s\n", block->rank, file, strerror(errno));
    }
    return good;
}

/* Returns 1 and sets *step if the file is whole and holds this rank's block. */
static int read_file(struct block *block, int *step, const char *file)
{
    FILE *in = fopen(file, "rb");
    if (in == NULL) {
        fprintf(stderr, "heat2d: rank %d: open %s: %s\n", block->rank, file, strerror(errno));
        return 0;
    }
    struct header header, expected;
    size_t columns = (size_t)block->columns;
    int good = fread(&header, sizeof(header), 1, in) == 1;
    if (good) {
        expected = header_of(block, (int)header.step);
        good = memcmp(&header, &expected, sizeof(header)) == 0;
    }
    for (int i = 0; good && i < block->rows; i++) {
        good = fread(cell(block, block->now, i, 0), sizeof(double), columns, in) == columns;
    }
    fclose(in);
    if (good) {
        *step = (int)header.step;
    } else {
        fprintf(stderr, "heat2d: rank %d: %s is not a checkpoint of this block\n", block->rank, file);
    }
    return good;
}

/* ---- SCR ---- */

/* The file of this rank as the program calls it. SCR says where it really is, but this is where it ends up if flushed. */
static void file_name(char *file, size_t size, const char *dataset, int rank)
{
    snprintf(file, size, "ckpt/%s/rank.%d", dataset, rank);
}

/* Writes a checkpoint. If that fails the program goes on: it still has the one before. */
static void write_checkpoint(struct block *block, int step)
{
    char dataset[64], name[128], file[SCR_MAX_FILENAME];
    snprintf(dataset, sizeof(dataset), "heat.%d", step);
    file_name(name, sizeof(name), dataset, block->rank);

    /* Every rank starts the dataset, with the same name and flags. */
    if (SCR_Start_output(dataset, SCR_FLAG_CHECKPOINT) != SCR_SUCCESS) {
        SAY(block, "step %d checkpoint %s not started: %s", step, dataset, SCR_Last_error());
        return;
    }
    /* Every rank asks where to write its file, and writes it there. A rank may ask for any number of files. */
    int valid = SCR_Route_file(name, file) == SCR_SUCCESS && write_file(block, step, file);

    /* Every rank says whether its files are good. The checkpoint counts only if all are. */
    int code = SCR_Complete_output(valid);
    if (code == SCR_SUCCESS) {
        SAY(block, "step %d checkpoint %s", step, dataset);
    } else {
        /* SCR_E_DEGRADED is the one that is half good: the checkpoint can be used, until a node is lost. */
        SAY(block, "step %d checkpoint %s %s: %s", step, dataset,
            code == SCR_E_DEGRADED ? "degraded" : "failed", SCR_Last_error());
    }
}

/*
 * Goes back to the newest checkpoint that can be read: returns 1 and sets *step. Returns 0 if there is none to go back to.
 * Returns -1 if there are some and SCR cannot use any: starting from zero then would hide a loss.
 */
static int restart(struct block *block, int *step)
{
    for (;;) {
        int found = 0;
        char dataset[SCR_MAX_FILENAME], name[SCR_MAX_FILENAME + 32], file[SCR_MAX_FILENAME];
        if (SCR_Have_restart(&found, dataset) != SCR_SUCCESS) {
            SAY(block, "cannot restart: %s", SCR_Last_error());
            return -1;
        }
        if (!found) {
            return 0;
        }
        if (SCR_Start_restart(dataset) != SCR_SUCCESS) {
            SAY(block, "cannot restart from %s: %s", dataset, SCR_Last_error());
            return -1;
        }
        file_name(name, sizeof(name), dataset, block->rank);
        int valid = SCR_Route_file(name, file) == SCR_SUCCESS && read_file(block, step, file);
        /* Success only if every rank read its file. If not, SCR offers the checkpoint before. */
        if (SCR_Complete_restart(valid) == SCR_SUCCESS) {
            SAY(block, "restarted from %s at step %d", dataset, *step);
            return 1;
        }
        SAY(block, "%s is of no use: %s", dataset, SCR_Last_error());
    }
}

/* Whether to write a checkpoint after this step: every so many steps, and whenever SCR thinks it is worth it. */
static int is_checkpoint_due(const struct options *options, int step)
{
    int asked = 0;
    SCR_Need_checkpoint(&asked);
    return asked || (options->checkpoint_every > 0 && step % options->checkpoint_every == 0);
}

/* ---- the program ---- */

/* Returns 1 if the command line makes sense. */
static int read_options(struct options *options, int argc, char **argv)
{
    opterr = 0; /* main prints the usage, once */
    *options = (struct options){.rows = 4096, .columns = 2048, .steps = 400, .checkpoint_every = 20, .pause_ms = 0};
    for (int letter; (letter = getopt(argc, argv, "n:s:c:d:")) != -1;) {
        switch (letter) {
        case 'n':
            if (sscanf(optarg, "%dx%d", &options->rows, &options->columns) != 2) {
                return 0;
            }
            break;
        case 's': options->steps = atoi(optarg); break;
        case 'c': options->checkpoint_every = atoi(optarg); break;
        case 'd': options->pause_ms = atoi(optarg); break;
        default: return 0;
        }
    }
    return optind == argc && options->rows > 0 && options->columns > 0 && options->steps >= 0 &&
           options->checkpoint_every >= 0 && options->pause_ms >= 0;
}

static void pause_for(int ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

/* From the newest checkpoint, or from the beginning, to the last step. Returns the exit status. */
static int run(struct block *block, const struct options *options)
{
    int step = 0;
    switch (restart(block, &step)) {
    case -1: return 1;
    case 0: heat_up(block, options); break;
    default: break;
    }

    while (step < options->steps) {
        step_forward(block);
        step++;
        pause_for(options->pause_ms);
        if (is_checkpoint_due(options, step)) {
            write_checkpoint(block, step);
            /* Right after a checkpoint nothing is lost by stopping, if the allocation is about to end. */
            int stop = 0;
            if (SCR_Should_exit(&stop) == SCR_SUCCESS && stop) {
                SAY(block, "asked to stop at step %d", step);
                break;
            }
        }
    }

    uint64_t hash = checksum(block);
    SAY(block, "final checksum 0x%016" PRIx64 " after step %d", hash, step);
    return 0;
}

int main(int argc, char **argv)
{
    struct options options;
    struct block block;
    int status = 1;

    MPI_Init(&argc, &argv);
    if (!read_options(&options, argc, argv)) {
        int rank;
        MPI_Comm_rank(MPI_COMM_WORLD, &rank);
        if (rank == 0) {
            fprintf(stderr, "usage: heat2d [-n ROWSxCOLUMNS] [-s steps] [-c checkpoint every] [-d pause in ms]\n");
        }
        MPI_Finalize();
        return 2;
    }

    if (!make_block(&block, &options)) {
        SAY(&block, "no room for %d x %d values on %d ranks", options.rows, options.columns, block.ranks);
    } else if (SCR_Init() != SCR_SUCCESS) { /* after MPI_Init */
        SAY(&block, "SCR does not start: %s", SCR_Last_error());
    } else {
        SAY(&block, "%d ranks, field %d x %d (%.1f MiB), steps 0..%d, checkpoint every %d", block.ranks,
            options.rows, options.columns, (double)options.rows * options.columns * sizeof(double) / 1048576.0,
            options.steps, options.checkpoint_every);
        status = run(&block, &options);
        if (SCR_Finalize() != SCR_SUCCESS) { /* before MPI_Finalize */
            SAY(&block, "SCR does not end well: %s", SCR_Last_error());
        }
    }

    free_block(&block);
    MPI_Finalize();
    return status;
}
