/* y = x + W2 gelu(W1 (s + t) + b1) + b2 along the first axis of (D, R), forwards and backwards: a few features of very many
   columns. A library's products are at their worst there, and would write the hidden values out to memory and read them again
   four times; here a chunk of columns goes through all of it in the nearest cache, and the way back makes them once more.

   in: x or NULL (D, R), s, t or NULL (D, R), W1 (F, D), b1 (F), W2 (D, F), b2 (D). sizes: D, F, R, threads. */

#define FF_VECTORS 4  /* of a chunk: as many sums at once as hide the wait for one */
#define FF_CHUNKS 4   /* read and written at once: D short pieces in as many pages would wait for memory */
#define FF_ROWS 4     /* of a product at once */
#define FF_ROUND(n) (((n) + FF_ROWS - 1) / FF_ROWS * FF_ROWS)

/* The Gaussian's density at x, and its share below x: Abramowitz and Stegun 7.1.26, wrong by 1e-7 at most, in float; libm in
   double. */
static inline VEC NAME(gaussian)(VEC x, VEC *density) {
    VEC power = x * x * (REAL)(-LOG2_E / 2);
    const VEC least = NAME(splat)(10 - BIAS); /* e^(-x^2/2) stays a normal number: subnormal ones are a hundred times slower */
    power = NAME(choose)(power < least, least, power);
    const VEC e = NAME(exp2)(power);
    *density = e * (REAL)0.3989422804014327;
    VEC tail;
    if (sizeof(REAL) == 8) {
        for (int i = 0; i < LANES; i++) tail[i] = (REAL)(0.5 * erfc(-(double)x[i] * 0.7071067811865476));
        return tail;
    }
    const VEC size = (VEC)((MASK)x & ~((MASK)NAME(splat)(-0.0))), u = 1 / (1 + size * (REAL)(0.3275911 * 0.7071067811865476));
    VEC p = NAME(splat)((REAL)1.061405429);
    p = p * u + (REAL)-1.453152027;
    p = p * u + (REAL)1.421413741;
    p = p * u + (REAL)-0.284496736;
    p = p * u + (REAL)0.254829592;
    tail = p * u * e * (REAL)0.5;
    return NAME(choose)(x > 0, 1 - tail, tail);
}

/* W (outputs, inputs), by rows or turned, as `ff_product` reads it: four rows side by side; what is missing is 0. */
static void NAME(ff_pack)(const REAL *w, REAL *to, int64_t outputs, int64_t inputs, int turned) {
    for (int64_t o = 0; o < FF_ROUND(outputs); o++)
        for (int64_t i = 0; i < inputs; i++)
            to[(o / FF_ROWS * inputs + i) * FF_ROWS + o % FF_ROWS] = o >= outputs ? 0 : turned ? w[i * outputs + o] : w[o * inputs + i];
}

/* to = W from + bias of a chunk; rows of `to` beyond the outputs become 0. */
static void NAME(ff_product)(const REAL *w, const REAL *bias, const VEC *from, VEC *to, int64_t outputs, int64_t inputs) {
    for (int64_t o = 0; o < outputs; o += FF_ROWS, w += inputs * FF_ROWS) {
        VEC sum[FF_ROWS][FF_VECTORS];
#pragma GCC unroll 4
        for (int r = 0; r < FF_ROWS; r++) {
            const VEC start = NAME(splat)(bias && o + r < outputs ? bias[o + r] : 0);
#pragma GCC unroll 4
            for (int v = 0; v < FF_VECTORS; v++) sum[r][v] = start;
        }
        for (int64_t i = 0; i < inputs; i++) {
            const VEC *x = from + i * FF_VECTORS;
#pragma GCC unroll 4
            for (int r = 0; r < FF_ROWS; r++) {
                const REAL w_r = w[i * FF_ROWS + r];
#pragma GCC unroll 4
                for (int v = 0; v < FF_VECTORS; v++) sum[r][v] += w_r * x[v];
            }
        }
#pragma GCC unroll 4
        for (int r = 0; r < FF_ROWS; r++)
#pragma GCC unroll 4
            for (int v = 0; v < FF_VECTORS; v++) to[(o + r) * FF_VECTORS + v] = sum[r][v];
    }
}

/* sum += a b^T of a chunk, lane by lane; both have whole fours of rows. */
static void NAME(ff_outer)(const VEC *a, const VEC *b, VEC *sum, int64_t outputs, int64_t inputs) {
    for (int64_t o = 0; o < outputs; o += FF_ROWS)
        for (int64_t i = 0; i < inputs; i += FF_ROWS, sum += FF_ROWS * FF_ROWS) {
            VEC own[FF_ROWS * FF_ROWS];
#pragma GCC unroll 16
            for (int k = 0; k < FF_ROWS * FF_ROWS; k++) own[k] = sum[k];
#pragma GCC unroll 4
            for (int v = 0; v < FF_VECTORS; v++)
#pragma GCC unroll 16
                for (int k = 0; k < FF_ROWS * FF_ROWS; k++)
                    own[k] += a[(o + k / FF_ROWS) * FF_VECTORS + v] * b[(i + k % FF_ROWS) * FF_VECTORS + v];
#pragma GCC unroll 16
            for (int k = 0; k < FF_ROWS * FF_ROWS; k++) sum[k] = own[k];
        }
}

/* Chunks of s + t, each of all rows; rows beyond D and columns beyond R are 0. */
static void NAME(ff_read)(const REAL *s, const REAL *t, VEC *to, int64_t D, int64_t R, int64_t start) {
    memset(to, 0, (size_t)(FF_ROUND(D) * FF_VECTORS * FF_CHUNKS) * sizeof(VEC));
    for (int64_t d = 0; d < D; d++)
        for (int64_t v = 0; v < FF_CHUNKS * FF_VECTORS && start + v * LANES < R; v++) {
            const int64_t at = d * R + start + v * LANES, count = R - start - v * LANES;
            VEC *place = to + (v / FF_VECTORS * FF_ROUND(D) + d) * FF_VECTORS + v % FF_VECTORS;
            *place = t ? NAME(load)(s + at, count) + NAME(load)(t + at, count) : NAME(load)(s + at, count);
        }
}

/* The same places, written; `add` is added to them. */
static void NAME(ff_write)(const VEC *from, const REAL *add, REAL *to, int64_t D, int64_t R, int64_t start) {
    for (int64_t d = 0; d < D; d++)
        for (int64_t v = 0; v < FF_CHUNKS * FF_VECTORS && start + v * LANES < R; v++) {
            const int64_t at = d * R + start + v * LANES, count = R - start - v * LANES;
            const VEC y = from[(v / FF_VECTORS * FF_ROUND(D) + d) * FF_VECTORS + v % FF_VECTORS];
            NAME(store)(to + at, add ? NAME(load)(add + at, count) + y : y, count);
        }
}

void NAME(feed_forward)(const REAL *const *in, REAL *y, const int64_t *sizes) {
    const int64_t D = sizes[0], F = sizes[1], R = sizes[2], threads = sizes[3], step = FF_CHUNKS * FF_VECTORS * LANES;
    const int64_t DD = FF_ROUND(D), FF = FF_ROUND(F);
    REAL *packed = aligned_alloc(64, ((size_t)(2 * DD * FF) * sizeof(REAL) + 63) / 64 * 64);
    NAME(ff_pack)(in[3], packed, F, D, 0);
    NAME(ff_pack)(in[5], packed + DD * FF, D, F, 0);
#pragma omp parallel num_threads(threads) if (threads > 1 && R > step)
    {
        VEC *all = aligned_alloc(64, (size_t)((DD * FF_CHUNKS + FF) * FF_VECTORS) * sizeof(VEC));
#pragma omp for schedule(static)
        for (int64_t start = 0; start < R; start += step) {
            VEC density, *h = all + DD * FF_CHUNKS * FF_VECTORS;
            NAME(ff_read)(in[1], in[2], all, D, R, start);
            for (VEC *x = all; x < h; x += DD * FF_VECTORS) {
                NAME(ff_product)(packed, in[4], x, h, F, D);
                for (int64_t k = 0; k < F * FF_VECTORS; k++) h[k] *= NAME(gaussian)(h[k], &density);
                NAME(ff_product)(packed + DD * FF, in[6], h, x, D, F);
            }
            NAME(ff_write)(all, in[0], y, D, R, start);
        }
        free(all);
    }
    free(packed);
}

/* dy (D, R) to ds, which is dt too (D, R), and what is summed over columns: dW1, db1, dW2, db2. dx is dy. */
void NAME(feed_forward_backward)(const REAL *const *in, const REAL *dy, REAL *const *out, const int64_t *sizes) {
    const int64_t D = sizes[0], F = sizes[1], R = sizes[2], threads = sizes[3], step = FF_CHUNKS * FF_VECTORS * LANES;
    const int64_t DD = FF_ROUND(D), FF = FF_ROUND(F), lasting = 2 * DD * FF + DD + FF; /* dW2, dW1, db2, db1 */
    const int64_t room = (2 * DD * FF_CHUNKS + 3 * FF) * FF_VECTORS;
    REAL *packed = aligned_alloc(64, ((size_t)(3 * DD * FF) * sizeof(REAL) + 63) / 64 * 64);
    VEC *all = aligned_alloc(64, (size_t)(threads * (lasting + room)) * sizeof(VEC));
    NAME(ff_pack)(in[3], packed, F, D, 0);
    NAME(ff_pack)(in[5], packed + DD * FF, F, D, 1);
    NAME(ff_pack)(in[3], packed + 2 * DD * FF, D, F, 1);
    memset(all, 0, (size_t)(threads * (lasting + room)) * sizeof(VEC));
    /* Who does which columns is decided here, not by the system: sums come out the same every time. */
    const int64_t steps = (R + step - 1) / step, share = (steps + threads - 1) / threads;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && R > step)
    for (int64_t thread = 0; thread < threads; thread++) {
        VEC *sums = all + thread * (lasting + room), *read = sums + lasting, *grads = read + DD * FF_CHUNKS * FF_VECTORS;
        VEC *h = grads + DD * FF_CHUNKS * FF_VECTORS, *dh = h + FF * FF_VECTORS, *slope = dh + FF * FF_VECTORS;
        const int64_t stop = (thread + 1) * share < steps ? (thread + 1) * share : steps;
        for (int64_t start = thread * share * step; start < stop * step; start += step) {
            NAME(ff_read)(in[1], in[2], read, D, R, start);
            NAME(ff_read)(dy, NULL, grads, D, R, start);
            for (VEC *x = read, *g = grads; x < grads; x += DD * FF_VECTORS, g += DD * FF_VECTORS) {
                NAME(ff_product)(packed, in[4], x, h, F, D);
                for (int64_t k = 0; k < F * FF_VECTORS; k++) {
                    VEC density;
                    const VEC below = NAME(gaussian)(h[k], &density);
                    slope[k] = below + h[k] * density;
                    h[k] *= below;
                }
                NAME(ff_product)(packed + DD * FF, NULL, g, dh, F, D);
                for (int64_t k = 0; k < F * FF_VECTORS; k++) dh[k] *= slope[k];
                NAME(ff_outer)(g, h, sums, DD, FF);
                NAME(ff_outer)(dh, x, sums + DD * FF, FF, DD);
                for (int64_t k = 0; k < DD * FF_VECTORS; k++) sums[2 * DD * FF + k / FF_VECTORS] += g[k];
                for (int64_t k = 0; k < FF * FF_VECTORS; k++) sums[2 * DD * FF + DD + k / FF_VECTORS] += dh[k];
                NAME(ff_product)(packed + 2 * DD * FF, NULL, dh, x, D, F);
            }
            NAME(ff_write)(read, NULL, out[0], D, R, start);
        }
    }
    for (int64_t thread = 1; thread < threads; thread++)
        for (int64_t k = 0; k < lasting; k++) all[k] += all[thread * (lasting + room) + k];
    for (int64_t d = 0; d < D; d++) {
        out[4][d] = NAME(total)(all[2 * DD * FF + d]);
        for (int64_t f = 0; f < F; f++) {
            const int64_t inside = d % FF_ROWS * FF_ROWS + f % FF_ROWS, turned = f % FF_ROWS * FF_ROWS + d % FF_ROWS;
            out[3][d * F + f] = NAME(total)(all[(d / FF_ROWS * (FF / FF_ROWS) + f / FF_ROWS) * FF_ROWS * FF_ROWS + inside]);
            out[1][f * D + d] = NAME(total)(all[DD * FF + (f / FF_ROWS * (DD / FF_ROWS) + d / FF_ROWS) * FF_ROWS * FF_ROWS + turned]);
        }
    }
    for (int64_t f = 0; f < F; f++) out[2][f] = NAME(total)(all[2 * DD * FF + DD + f]);
    free(packed);
    free(all);
}
