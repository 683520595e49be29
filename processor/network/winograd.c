/* The convolutions of VGG-16: 3 x 3, one pixel of zeros around, bias, ReLU and, where a block ends, the
 * maximum of 2 x 2. winograd.py states in NumPy what each function computes; winograd_code.py checks
 * everything that is passed here, because nothing is checked here.
 *
 * Winograd's F(4 x 4, 3 x 3) (Lavin and Gray 2015, arXiv:1509.09308): a tile of 6 x 6 inputs becomes 36
 * values, which are multiplied by 36 matrices (inputs x outputs), and the products become 4 x 4 outputs. A
 * block of tiles is transformed, multiplied and transformed back before the next, so that what lies between
 * these steps stays in the caches.
 *
 * Maps are (photos, channels / LANES, height, width, LANES), so every load is a whole vector. Compiled
 * without the C library, with these macros of the instruction set: LANES, the floats in a vector, and
 * OUTPUTS, the output channels that are computed together.
 */

#include <stddef.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))
#define EXPORT __attribute__((visibility("default")))
#define UNROLL _Pragma("GCC unroll 8")

typedef float vector __attribute__((vector_size(4 * LANES)));
typedef int32_t bits __attribute__((vector_size(4 * LANES)));

enum {
    TILE = 6,             /* inputs of a tile, on each side */
    STEP = 4,             /* outputs of a tile, on each side */
    POINTS = TILE * TILE, /* values of a transformed tile */
    ROWS = 6,             /* tiles whose products multiply() keeps in registers, SPAN vectors of each */
    SPAN = OUTPUTS / LANES,
    SKEW = 48,            /* floats between points, so that not all fall on the same lines of a cache */
    LINE = 16,            /* floats in a line of a cache */
    MOST_TILES = 144,     /* of a block, at any number of channels; a multiple of ROWS */
};

typedef struct {
    ptrdiff_t photo, y, x; /* its first output */
} tile;

/* Tiles of a block: few enough for the second-level cache, or so many that their products take longer than
 * fetching the matrices from memory; the blocks of a call are about equal. */
static ptrdiff_t block_of(ptrdiff_t tiles, ptrdiff_t outputs)
{
    ptrdiff_t most = outputs <= 128 ? 24 : outputs <= 256 ? 96 : MOST_TILES;
    ptrdiff_t blocks = (tiles + most - 1) / most;
    ptrdiff_t each = (tiles + blocks - 1) / blocks;
    return (each + ROWS - 1) / ROWS * ROWS;
}

static ptrdiff_t tiles_of(ptrdiff_t photos, ptrdiff_t height, ptrdiff_t width)
{
    return photos * ((height + STEP - 1) / STEP) * ((width + STEP - 1) / STEP);
}

INLINE vector relu(vector value)
{
    bits negative = value < 0; /* not so for NaN, which has to reach the features */
    return (vector)(~negative & (bits)value);
}

INLINE vector larger(vector a, vector b)
{
    bits first = a > b;
    return (vector)((first & (bits)a) | (~first & (bits)b));
}

/* The largest of four; NaN if any of them is NaN or infinite. */
INLINE vector largest(vector a, vector b, vector c, vector d)
{
    return larger(larger(a, b), larger(c, d)) + 0 * ((a + b) + (c + d));
}

INLINE void to_points(const vector *d, vector *p)
{
    vector even = d[4] - 4 * d[2], odd = d[3] - 4 * d[1];
    vector near = d[4] - d[2], far = 2 * (d[3] - d[1]);
    p[0] = 4 * d[0] - 5 * d[2] + d[4];
    p[1] = even + odd;
    p[2] = even - odd;
    p[3] = near + far;
    p[4] = near - far;
    p[5] = 4 * d[1] - 5 * d[3] + d[5];
}

INLINE void from_points(const vector *p, vector *y)
{
    vector a = p[1] + p[2], b = p[1] - p[2], c = p[3] + p[4], d = p[3] - p[4];
    y[0] = p[0] + a + c;
    y[1] = b + 2 * d;
    y[2] = a + 4 * c;
    y[3] = b + 8 * d + p[5];
}

/* A tile's inputs, in rows of `width` vectors, become its points, `apart` floats from one to the next. */
INLINE void transform(const float *inputs, ptrdiff_t width, float *points, ptrdiff_t apart)
{
    vector columns[TILE][TILE];
    UNROLL for (int x = 0; x < TILE; x++)
    {
        vector column[TILE];
        UNROLL for (int y = 0; y < TILE; y++) column[y] = *(const vector *)(inputs + (y * width + x) * LANES);
        to_points(column, columns[x]);
    }
    UNROLL for (int y = 0; y < TILE; y++)
    {
        vector row[TILE], transformed[TILE];
        UNROLL for (int x = 0; x < TILE; x++) row[x] = columns[x][y];
        to_points(row, transformed);
        UNROLL for (int x = 0; x < TILE; x++) *(vector *)(points + (y * TILE + x) * apart) = transformed[x];
    }
}

/* The same for a tile of the channels `map` that reaches beyond them, where there are zeros. */
static void transform_edge(const float *map, const tile *at, ptrdiff_t height, ptrdiff_t width, float *points,
                           ptrdiff_t apart)
{
    vector inputs[TILE][TILE] = {0};
    for (ptrdiff_t y = 0; y < TILE; y++)
        for (ptrdiff_t x = 0; x < TILE; x++) {
            ptrdiff_t row = at->y + y - 1, column = at->x + x - 1;
            if (row >= 0 && row < height && column >= 0 && column < width)
                inputs[y][x] = *(const vector *)(map + (row * width + column) * LANES);
        }
    transform((const float *)inputs, TILE, points, apart);
}

/* The products of ROWS tiles (inputs / LANES, ROWS, LANES) and a matrix (inputs, OUTPUTS): (SPAN, ROWS, LANES).
 * Meanwhile `lines` lines at `ahead`, of the next matrix, are fetched for every LANES inputs. */
static __attribute__((noinline)) void multiply(const float *matrix, const float *tiles, float *products,
                                               ptrdiff_t inputs, const float *ahead, ptrdiff_t lines)
{
    vector sums[SPAN][ROWS] = {0};
    for (ptrdiff_t done = 0; done < inputs; done += LANES, tiles += ROWS * LANES) {
        for (ptrdiff_t n = 0; n < lines; n++, ahead += LINE)
            __builtin_prefetch(ahead, 0, 2);
        for (int channel = 0; channel < LANES; channel++, matrix += OUTPUTS) {
            vector outputs[SPAN];
            UNROLL for (int n = 0; n < SPAN; n++) outputs[n] = *(const vector *)(matrix + n * LANES);
            UNROLL for (int row = 0; row < ROWS; row++)
            {
                UNROLL for (int n = 0; n < SPAN; n++) sums[n][row] += outputs[n] * tiles[row * LANES + channel];
            }
        }
    }
    UNROLL for (int n = 0; n < SPAN; n++)
    {
        UNROLL for (int row = 0; row < ROWS; row++)
            *(vector *)(products + (n * ROWS + row) * LANES) = sums[n][row];
    }
}

/* A tile's products, `apart` floats from one point to the next, become its outputs with bias and ReLU. */
INLINE void transform_back(const float *products, ptrdiff_t apart, vector bias, vector outputs[STEP][STEP])
{
    vector columns[TILE][STEP];
    UNROLL for (int x = 0; x < TILE; x++)
    {
        vector column[TILE];
        UNROLL for (int y = 0; y < TILE; y++) column[y] = *(const vector *)(products + (y * TILE + x) * apart);
        from_points(column, columns[x]);
    }
    UNROLL for (int y = 0; y < STEP; y++)
    {
        vector row[TILE];
        UNROLL for (int x = 0; x < TILE; x++) row[x] = columns[x][y];
        from_points(row, outputs[y]);
        UNROLL for (int x = 0; x < STEP; x++) outputs[y][x] = relu(outputs[y][x] + bias);
    }
}

/* Floats of scratch that winograd_convolve() needs for such maps. */
EXPORT ptrdiff_t winograd_scratch(ptrdiff_t photos, ptrdiff_t inputs, ptrdiff_t outputs, ptrdiff_t height,
                                  ptrdiff_t width)
{
    ptrdiff_t block = block_of(tiles_of(photos, height, width), outputs);
    return POINTS * (block * (inputs + outputs) + 2 * SKEW);
}

/* maps (photos, inputs, height, width) become result (photos, outputs, height, width), with pool (1 or 0)
 * halved. matrices: (POINTS, outputs / OUTPUTS, inputs, OUTPUTS). */
EXPORT void winograd_convolve(const float *maps, const float *matrices, const float *bias, float *result,
                              float *scratch, ptrdiff_t photos, ptrdiff_t inputs, ptrdiff_t outputs,
                              ptrdiff_t height, ptrdiff_t width, ptrdiff_t pool)
{
    ptrdiff_t across = (width + STEP - 1) / STEP, each = tiles_of(1, height, width), all = photos * each;
    ptrdiff_t block = block_of(all, outputs), deep = inputs / LANES, wide = outputs / LANES;
    ptrdiff_t rows = pool ? height / 2 : height, columns = pool ? width / 2 : width;
    for (ptrdiff_t start = 0; start < all; start += block) {
        ptrdiff_t count = all - start < block ? all - start : block, groups = (count + ROWS - 1) / ROWS;
        ptrdiff_t apart = groups * ROWS * inputs + SKEW, apart_back = groups * ROWS * outputs + SKEW;
        float *points = scratch, *products = scratch + POINTS * apart;
        tile tiles[MOST_TILES];
        for (ptrdiff_t n = 0; n < count; n++) {
            ptrdiff_t within = (start + n) % each;
            tiles[n] = (tile){(start + n) / each, within / across * STEP, within % across * STEP};
        }

        for (ptrdiff_t channels = 0; channels < deep; channels++)
            for (ptrdiff_t n = 0; n < count; n++) {
                const tile *at = tiles + n;
                const float *map = maps + (at->photo * deep + channels) * height * width * LANES;
                float *to = points + ((n / ROWS * deep + channels) * ROWS + n % ROWS) * LANES;
                if (at->y > 0 && at->y + TILE - 1 <= height && at->x > 0 && at->x + TILE - 1 <= width)
                    transform(map + ((at->y - 1) * width + at->x - 1) * LANES, width, to, apart);
                else
                    transform_edge(map, at, height, width, to, apart);
            }

        ptrdiff_t size = inputs * OUTPUTS, matrix_count = POINTS * (outputs / OUTPUTS);
        ptrdiff_t share = (size + groups - 1) / groups, lines = (share + deep * LINE - 1) / (deep * LINE);
        for (ptrdiff_t n = 0; n < matrix_count; n++) {
            ptrdiff_t point = n / (outputs / OUTPUTS), span = n % (outputs / OUTPUTS) * SPAN;
            const float *matrix = matrices + n * size, *next = n + 1 < matrix_count ? matrix + size : matrix;
            for (ptrdiff_t group = 0; group < groups; group++)
                multiply(matrix, points + point * apart + group * ROWS * inputs,
                         products + point * apart_back + (group * wide + span) * ROWS * LANES, inputs,
                         next + group * share, lines);
        }

        for (ptrdiff_t channels = 0; channels < wide; channels++)
            for (ptrdiff_t n = 0; n < count; n++) {
                const tile *at = tiles + n;
                float *to = result + (at->photo * wide + channels) * rows * columns * LANES;
                vector y[STEP][STEP];
                transform_back(products + ((n / ROWS * wide + channels) * ROWS + n % ROWS) * LANES, apart_back,
                               *(const vector *)(bias + channels * LANES), y);
                if (pool) {
                    for (int down = 0; down < STEP; down += 2)
                        for (int right = 0; right < STEP; right += 2) {
                            ptrdiff_t row = (at->y + down) / 2, column = (at->x + right) / 2;
                            if (row < rows && column < columns)
                                *(vector *)(to + (row * columns + column) * LANES) =
                                    largest(y[down][right], y[down][right + 1], y[down + 1][right],
                                            y[down + 1][right + 1]);
                        }
                } else {
                    for (int down = 0; down < STEP; down++)
                        for (int right = 0; right < STEP; right++)
                            if (at->y + down < rows && at->x + right < columns)
                                *(vector *)(to + ((at->y + down) * columns + at->x + right) * LANES) =
                                    y[down][right];
                }
            }
    }
}

/* Floats of scratch that winograd_first() needs for such pixels. */
EXPORT ptrdiff_t winograd_first_scratch(ptrdiff_t height, ptrdiff_t width)
{
    return 3 * (height + 2) * (width + 2);
}

/* The first convolution, by its definition, because it has so few inputs: RGB pixels (photos, height, width,
 * 3) minus their mean become result (photos, outputs, height, width). kernel: (3 channels x 3 rows x 3
 * columns, outputs). At least ROWS pixels wide. */
EXPORT void winograd_first(const uint8_t *pixels, const float *mean, const float *kernel, const float *bias,
                           float *result, float *scratch, ptrdiff_t photos, ptrdiff_t outputs,
                           ptrdiff_t height, ptrdiff_t width)
{
    ptrdiff_t line = width + 2, plane = (height + 2) * line, wide = outputs / LANES;
    for (ptrdiff_t n = 0; n < 3 * plane; n++)
        scratch[n] = 0;
    for (ptrdiff_t photo = 0; photo < photos; photo++, pixels += height * width * 3) {
        for (ptrdiff_t y = 0; y < height; y++)
            for (ptrdiff_t x = 0; x < width; x++)
                for (int channel = 0; channel < 3; channel++)
                    scratch[channel * plane + (y + 1) * line + x + 1] =
                        pixels[(y * width + x) * 3 + channel] - mean[channel];
        for (ptrdiff_t span = 0; span < wide; span += SPAN)
            for (ptrdiff_t y = 0; y < height; y++)
                for (ptrdiff_t next = 0; next < width; next += ROWS) {
                    ptrdiff_t x = next + ROWS <= width ? next : width - ROWS; /* some are computed twice */
                    float *to = result + (((photo * wide + span) * height + y) * width + x) * LANES;
                    vector sums[SPAN][ROWS];
                    UNROLL for (int n = 0; n < SPAN; n++)
                    {
                        UNROLL for (int row = 0; row < ROWS; row++)
                            sums[n][row] = *(const vector *)(bias + (span + n) * LANES);
                    }
                    for (ptrdiff_t tap = 0; tap < 27; tap++) {
                        const float *from = scratch + tap / 9 * plane + (y + tap / 3 % 3) * line + x + tap % 3;
                        UNROLL for (int n = 0; n < SPAN; n++)
                        {
                            vector taps = *(const vector *)(kernel + tap * outputs + (span + n) * LANES);
                            UNROLL for (int row = 0; row < ROWS; row++) sums[n][row] += taps * from[row];
                        }
                    }
                    UNROLL for (int n = 0; n < SPAN; n++)
                    {
                        UNROLL for (int row = 0; row < ROWS; row++)
                            *(vector *)(to + (n * height * width + row) * LANES) = relu(sums[n][row]);
                    }
                }
    }
}
