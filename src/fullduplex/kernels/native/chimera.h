/* One column of a whole Chimera layer in one call: a column is a few small products, and asking for fifty operations one by
   one would cost several times what they do.

   in: x (B V, D), past (B V, K-1, E), then of each of S systems h1, h2 (B, V, N, E), then W_in (2E, D), conv weight (E, K),
   conv bias (E), W_out (D, E), then of each system W_x1, W_x2 (R+2N, E), W_dt1, W_dt2 (E, R), log rates 1, 2 (E, N),
   w2, w3 (E, N), bias1, bias2, skip (E). out: y (B V, D), past, then h1, h2 of each system.
   sizes: B, V, D, E, N, K, R, S, threads, then for each system whether it runs backwards through the variates. */

#define CHIMERA_TENSORS 11

/* (rows, columns) to (columns, rows). */
static void NAME(turned)(const REAL *from, REAL *to, int64_t rows, int64_t columns) {
    for (int64_t c = 0; c < columns; c++)
        for (int64_t r = 0; r < rows; r++) to[c * rows + r] = from[r * columns + c];
}

/* y = x W^T for many short rows: W is turned first, outputs padded to whole vectors, so that no sum crosses a vector. */
static void NAME(rows_product)(const REAL *w, const REAL *x, int64_t x_row, REAL *y, int64_t rows, int64_t outputs,
                               int64_t inputs, REAL *room) {
    const int64_t wide = (outputs + LANES - 1) / LANES * LANES;
    for (int64_t i = 0; i < inputs; i++) {
        for (int64_t o = 0; o < outputs; o++) room[i * wide + o] = w[o * inputs + i];
        for (int64_t o = outputs; o < wide; o++) room[i * wide + o] = 0;
    }
    for (int64_t row = 0; row < rows; row += 4) {
        const int64_t count = rows - row < 4 ? rows - row : 4;
        const REAL *x_r[4];
        for (int64_t r = 0; r < 4; r++) x_r[r] = x + (row + (r < count ? r : 0)) * x_row;
        for (int64_t o = 0; o < wide; o += LANES) {
            VEC sum[4] = {{0}};
            for (int64_t i = 0; i < inputs; i++) {
                const VEC w_i = *(const NAME(loose) *)(room + i * wide + o);
                for (int r = 0; r < 4; r++) sum[r] += w_i * x_r[r][i];
            }
            for (int64_t r = 0; r < count; r++) NAME(store)(y + (row + r) * outputs + o, sum[r], outputs - o);
        }
    }
}

/* tanh w = m / (m + 2) with m = e^(2w) - 1; for |w| > 9 it is 1 to the last digit, and m would become infinite. */
static inline VEC NAME(tanh)(VEC w) {
    const VEC most = NAME(splat)(40);
    w = NAME(choose)(w > most, most, w);
    const VEC m = NAME(exp2m1)(w * (REAL)(2 * LOG2_E));
    return m / (m + 2);
}

/* Rates and couplings of one system as selective2d.h reads them: r1, r2, k2, k3, each (N, E). */
static void NAME(chimera_constants)(const REAL *const *own, REAL *to, REAL *room, int64_t E, int64_t N) {
    for (int i = 0; i < 4; i++) {
        for (int64_t e = 0; e < E * N; e += LANES) {
            const VEC w = NAME(load)(own[4 + i] + e, E * N - e);
            NAME(store)(room + e, i < 2 ? -NAME(exp2)(w * (REAL)LOG2_E) : NAME(tanh)(w), E * N - e);
        }
        NAME(turned)(room, to + i * N * E, E, N);
    }
}

void NAME(chimera_step)(const REAL *const *in, REAL *const *out, const int64_t *sizes) {
    const int64_t B = sizes[0], V = sizes[1], D = sizes[2], E = sizes[3], N = sizes[4], K = sizes[5], R = sizes[6], S = sizes[7];
    const int64_t threads = sizes[8], rows = B * V, P = R + 2 * N;
    const int64_t widest = 2 * E > P ? 2 * E : P, most = ((widest > D ? widest : D) + LANES) * ((E > D ? E : D) + N + R); /* the largest turned matrix */
    REAL *both = aligned_alloc(64, (size_t)((rows * (6 * E + 2 * P) + 4 * N * E + most) * sizeof(REAL) + 63) / 64 * 64);
    REAL *u = both + rows * 2 * E, *dt1 = u + rows * E, *dt2 = dt1 + rows * E, *y = dt2 + rows * E;
    REAL *low1 = y + rows * E, *low2 = low1 + rows * P, *constants = low2 + rows * P;
    REAL *room = constants + 4 * N * E;
    const REAL *const *weights = in + 2 + 2 * S;
    NAME(rows_product)(weights[0], in[0], D, both, rows, 2 * E, D, room);
    const int64_t conv[] = {rows, 1, E, K, 2 * E, 0, 1, threads};
    NAME(conv)(both, weights[1], weights[2], in[1], u, conv);
    NAME(shift_past)(in[1], both, 2 * E, out[1], rows, K - 1, E);
    /* What is done with u is over, so its place in `both` holds the sum over systems, and stays beside its gate z. */
    for (int64_t s = 0; s < S; s++) {
        const REAL *const *own = weights + 4 + s * CHIMERA_TENSORS;
        NAME(rows_product)(own[0], u, E, low1, rows, P, E, room);
        NAME(rows_product)(own[1], u, E, low2, rows, P, E, room);
        NAME(rows_product)(own[2], low1, P, dt1, rows, E, R, room);
        NAME(rows_product)(own[3], low2, P, dt2, rows, E, R, room);
        NAME(chimera_constants)(own, constants, room, E, N);
        const REAL *scan[] = {u, dt1, dt2, low1 + R, low1 + R + N, low2 + R, low2 + R + N, constants, constants + N * E,
                              constants + 2 * N * E, constants + 3 * N * E, own[8], own[9], own[10], in[2 + 2 * s], in[3 + 2 * s]};
        const int64_t scan_sizes[] = {B, 1, V, E, N, P, P, sizes[9 + s], 1, threads};
        NAME(selective2d)(scan, y, out[2 + 2 * s], out[3 + 2 * s], NULL, scan_sizes);
        for (int64_t row = 0; row < rows; row++)
            for (int64_t e = 0; e < E; e += LANES) {
                REAL *sum = both + row * 2 * E + e;
                const VEC more = NAME(load)(y + row * E + e, E - e);
                NAME(store)(sum, s ? NAME(load)(sum, E - e) + more : more, E - e);
            }
    }
    for (int64_t row = 0; row < rows; row++)
        for (int64_t e = 0; e < E; e += LANES) {
            REAL *sum = both + row * 2 * E + e;
            const VEC z = NAME(load)(sum + E, E - e);
            NAME(store)(sum, NAME(load)(sum, E - e) * z * NAME(sigmoid)(z), E - e);
        }
    NAME(rows_product)(weights[3], both, 2 * E, out[0], rows, D, E, room);
    free(both);
}
