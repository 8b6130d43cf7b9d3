/* The selective scan of Mamba: h_t = e^{s_t A} h_{t-1} + s_t x_t b_t, y_t = (h_t c_t + skip x_t) SiLU(z_t), with the step
   s_t = softplus(dt_t + bias) or dt_t itself.

   LANES channels side by side; their N states in registers or the first cache. Time goes in tiles, all channels of a tile
   before the next, so that a tile of u, dt, z, y stays in the second cache. The states at the start of each tile can be
   kept: they are all the backward pass needs to run every tile again.

   sizes: B, T, D, N, softplus, threads, tile, then the strides over batch and time of u, dt, b, c, z. */

typedef struct {
    const REAL *u, *dt, *b, *c, *z; /* of this row of the batch and block of channels, at t = 0; z may be NULL */
    VEC bias, skip;
    int64_t lanes;
    const int64_t *sizes;
} NAME(block);

static inline VEC NAME(step_length)(const NAME(block) *k, int64_t t) {
    VEC raw = NAME(load)(k->dt + t * k->sizes[SEL_DT + 1], k->lanes) + k->bias;
    return k->sizes[SEL_SOFTPLUS] ? NAME(softplus)(raw) : raw;
}

/* Rates and states lie as [block][n][LANES]: rates times log2 e, zero in lanes beyond the last channel. */
static void NAME(spread)(const REAL *from, VEC *to, int64_t D, int64_t N, REAL scale) {
    for (int64_t d = 0; d < D; d += LANES)
        for (int64_t n = 0; n < N; n++, to++) {
            *to = (VEC){0};
            for (int64_t i = 0; i < LANES && d + i < D; i++) (*to)[i] = scale * from[(d + i) * N + n];
        }
}

static void NAME(gather)(const VEC *from, REAL *to, int64_t D, int64_t N) {
    for (int64_t d = 0; d < D; d += LANES)
        for (int64_t n = 0; n < N; n++, from++)
            for (int64_t i = 0; i < LANES && d + i < D; i++) to[(d + i) * N + n] = (*from)[i];
}

/* What does not wait for the states comes first, for a few steps at once: nothing in it depends on the step before, so a row
   that is not in the first cache holds up nobody. The rows of the next block of channels are asked for meanwhile: they are
   too far apart for the processor to guess. */
static inline __attribute__((always_inline)) void NAME(selective_tile)(
    const NAME(block) *k, const VEC *rates, VEC *states, REAL *y, int64_t start, int64_t stop, int N, int64_t lanes) {
    const int64_t *sizes = k->sizes;
    VEC kept[32], *h = states, steps[SEL_AHEAD], drives[SEL_AHEAD], sums[SEL_AHEAD], gates[SEL_AHEAD];
    if (N <= 32) { h = kept; for (int n = 0; n < N; n++) h[n] = states[n]; }
    for (int64_t first = start; first < stop; first += SEL_AHEAD) {
        const int64_t count = stop - first < SEL_AHEAD ? stop - first : SEL_AHEAD;
        for (int64_t i = 0; i < count; i++) {
            const int64_t t = first + i;
            const REAL *u = k->u + t * sizes[SEL_U + 1];
            const VEC x = NAME(load)(u, lanes);
            steps[i] = NAME(step_length)(k, t);
            drives[i] = steps[i] * x;
            sums[i] = k->skip * x;
            __builtin_prefetch(u + LANES);
            __builtin_prefetch(k->dt + t * sizes[SEL_DT + 1] + LANES);
            __builtin_prefetch(y + t * sizes[SEL_D] + LANES, 1);
            if (k->z) {
                const REAL *z = k->z + t * sizes[SEL_Z + 1];
                const VEC gate = NAME(load)(z, lanes);
                gates[i] = gate * NAME(sigmoid)(gate);
                __builtin_prefetch(z + LANES);
            }
        }
        for (int64_t i = 0; i < count; i++) {
            const int64_t t = first + i;
            const REAL *b = k->b + t * sizes[SEL_IN + 1], *c = k->c + t * sizes[SEL_OUT + 1];
            const VEC step = steps[i], drive = drives[i];
            VEC sum = sums[i];
#pragma GCC unroll 16
            for (int n = 0; n < N; n++) {
                h[n] = NAME(exp2)(step * rates[n]) * h[n] + drive * b[n];
                sum += h[n] * c[n];
            }
            NAME(store)(y + t * sizes[SEL_D], k->z ? sum * gates[i] : sum, lanes);
        }
    }
    if (N <= 32) for (int n = 0; n < N; n++) states[n] = h[n];
}

static NAME(block) NAME(block_at)(const REAL *const *in, const int64_t *sizes, int64_t row, int64_t d, int64_t lanes) {
    NAME(block) k = {.lanes = lanes, .sizes = sizes};
    k.u = in[0] + row * sizes[SEL_U] + d;
    k.dt = in[1] + row * sizes[SEL_DT] + d;
    k.b = in[2] + row * sizes[SEL_IN];
    k.c = in[3] + row * sizes[SEL_OUT];
    k.z = in[4] ? in[4] + row * sizes[SEL_Z] + d : NULL;
    k.skip = NAME(load)(in[6] + d, lanes);
    k.bias = in[7] ? NAME(load)(in[7] + d, lanes) : (VEC){0};
    return k;
}

/* Few steps: the N states of a channel side by side, as they lie in memory, so that nothing is turned around. */
static void NAME(selective_short)(const REAL *const *in, const REAL *h0, REAL *y, REAL *h_last, int64_t row, int64_t d,
                                  int64_t lanes, const int64_t *sizes) {
    const int64_t N = sizes[SEL_N], D = sizes[SEL_D];
    const NAME(block) k = NAME(block_at)(in, sizes, row, d, lanes);
    const REAL *from = h0 + (row * D + d) * N;
    for (int64_t t = 0; t < sizes[SEL_T]; t++, from = h_last + (row * D + d) * N) {
        const VEC x = NAME(load)(k.u + t * sizes[SEL_U + 1], lanes), step = NAME(step_length)(&k, t), drive = step * x;
        const REAL *b = k.b + t * sizes[SEL_IN + 1], *c = k.c + t * sizes[SEL_OUT + 1];
        VEC sum = {0};
        for (int64_t i = 0; i < lanes; i++) {
            VEC part = {0};
            for (int64_t n = 0; n < N; n += LANES) {
                VEC turn = step[i] * (REAL)LOG2_E * NAME(load)(in[5] + (d + i) * N + n, N - n);
                VEC h = NAME(exp2)(turn) * NAME(load)(from + i * N + n, N - n) + drive[i] * NAME(load)(b + n, N - n);
                NAME(store)(h_last + (row * D + d + i) * N + n, h, N - n);
                part += h * NAME(load)(c + n, N - n);
            }
            sum[i] = NAME(total)(part);
        }
        sum += k.skip * x;
        if (k.z) {
            VEC z = NAME(load)(k.z + t * sizes[SEL_Z + 1], lanes);
            sum *= z * NAME(sigmoid)(z);
        }
        NAME(store)(y + (row * sizes[SEL_T] + t) * D + d, sum, lanes);
    }
}

/* in: u, dt, b, c, z or NULL, rates (D, N), skip, bias or NULL. kept: states at tile starts, [B][tiles][blocks][N][LANES],
   or NULL. The work of a row of the batch is cut into `groups` of channels when there are more threads than rows. */
void NAME(selective)(const REAL *const *in, const REAL *h0, REAL *y, REAL *h_last, REAL *kept, const int64_t *sizes) {
    const int64_t B = sizes[SEL_B], T = sizes[SEL_T], D = sizes[SEL_D], N = sizes[SEL_N], tile = sizes[SEL_TILE];
    const int64_t threads = sizes[SEL_THREADS], blocks = (D + LANES - 1) / LANES, tiles = (T + tile - 1) / tile;
    const int64_t groups = threads > B ? (threads + B - 1) / B : 1, share = (blocks + groups - 1) / groups;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && B * groups > 1)
    for (int64_t task = 0; task < B * groups; task++) {
        const int64_t row = task / groups, first = task % groups * share * LANES;
        const int64_t width = D - first < share * LANES ? D - first : share * LANES;
        if (width <= 0) continue;
        if (T <= 2 && !kept) {
            for (int64_t d = first; d < first + width; d += LANES)
                NAME(selective_short)(in, h0, y, h_last, row, d, first + width - d < LANES ? first + width - d : LANES, sizes);
            continue;
        }
        VEC *rates = aligned_alloc(64, (size_t)(2 * share * N) * sizeof(VEC)), *states = rates + share * N;
        NAME(spread)(in[5] + first * N, rates, width, N, LOG2_E);
        NAME(spread)(h0 + (row * D + first) * N, states, width, N, 1);
        for (int64_t start = 0; start < T; start += tile) {
            const int64_t stop = start + tile < T ? start + tile : T;
            if (kept)
                memcpy(kept + ((row * tiles + start / tile) * blocks + first / LANES) * N * LANES, states,
                       (size_t)((width + LANES - 1) / LANES * N) * sizeof(VEC));
            for (int64_t d = 0; d < width; d += LANES) {
                const int64_t lanes = width - d, at = d / LANES * N;
                const NAME(block) k = NAME(block_at)(in, sizes, row, first + d, lanes);
                REAL *y_block = y + row * T * D + first + d;
                if (N == 16 && lanes >= LANES) NAME(selective_tile)(&k, rates + at, states + at, y_block, start, stop, 16, LANES);
                else NAME(selective_tile)(&k, rates + at, states + at, y_block, start, stop, N, lanes);
            }
        }
        NAME(gather)(states, h_last + (row * D + first) * N, width, N);
        free(rates);
    }
}

typedef struct {
    VEC *states, *decays; /* [tile][N], of the tile that is run again */
    VEC *plain;           /* [tile]: y before the gate */
    VEC *db, *dc;         /* [tile][N]: summed over blocks, then over lanes */
} NAME(scratch);

/* The tile forward once more from its kept states; every state and decay stays. */
static inline __attribute__((always_inline)) void NAME(selective_again)(
    const NAME(block) *k, const VEC *rates, const VEC *kept, NAME(scratch) s, int64_t start, int64_t stop, int N) {
    const int64_t *sizes = k->sizes;
    const VEC *before = kept;
    for (int64_t t = start; t < stop; t++) {
        const REAL *b = k->b + t * sizes[SEL_IN + 1], *c = k->c + t * sizes[SEL_OUT + 1];
        const VEC x = NAME(load)(k->u + t * sizes[SEL_U + 1], k->lanes), step = NAME(step_length)(k, t), drive = step * x;
        VEC *h = s.states + (t - start) * N, *decay = s.decays + (t - start) * N, sum = k->skip * x;
#pragma GCC unroll 16
        for (int n = 0; n < N; n++) {
            decay[n] = NAME(exp2)(step * rates[n]);
            h[n] = decay[n] * before[n] + drive * b[n];
            sum += h[n] * c[n];
        }
        s.plain[t - start] = sum;
        before = h;
    }
}

typedef struct {
    VEC *h, *rates; /* [N]: gradients of the states after this tile and of the rates */
    VEC skip, bias;
    REAL *u, *dt, *z; /* at t = 0 of this row and block; z may be NULL */
} NAME(gradients);

static inline __attribute__((always_inline)) void NAME(selective_tile_backward)(
    const NAME(block) *k, const VEC *rates, const VEC *kept, NAME(scratch) s, const REAL *dy, NAME(gradients) *g,
    int64_t start, int64_t stop, int N) {
    const int64_t *sizes = k->sizes, D = sizes[SEL_D];
    for (int64_t t = stop - 1; t >= start; t--) {
        const int64_t i = t - start;
        const REAL *b = k->b + t * sizes[SEL_IN + 1], *c = k->c + t * sizes[SEL_OUT + 1];
        const VEC x = NAME(load)(k->u + t * sizes[SEL_U + 1], k->lanes), step = NAME(step_length)(k, t), drive = step * x;
        VEC out = NAME(load)(dy + t * D, k->lanes);
        if (k->z) {
            const VEC z = NAME(load)(k->z + t * sizes[SEL_Z + 1], k->lanes), gate = NAME(sigmoid)(z);
            NAME(store)(g->z + t * D, out * s.plain[i] * gate * (1 + z * (1 - gate)), k->lanes);
            out *= z * gate;
        }
        const VEC *h = s.states + i * N, *before = i ? h - N : kept, *decay = s.decays + i * N;
        VEC *db = s.db + i * N, *dc = s.dc + i * N, into = {0}, dstep = {0};
#pragma GCC unroll 8
        for (int n = 0; n < N; n++) {
            const VEC full = g->h[n] + out * c[n], carried = full * decay[n], turn = carried * before[n];
            dc[n] += out * h[n];
            db[n] += full * drive;
            into += full * b[n];
            dstep += turn * rates[n];
            g->rates[n] += turn * step;
            g->h[n] = carried;
        }
        dstep = dstep * (REAL)LN_2 + into * x;
        if (sizes[SEL_SOFTPLUS]) dstep *= NAME(sigmoid)(NAME(load)(k->dt + t * sizes[SEL_DT + 1], k->lanes) + k->bias);
        NAME(store)(g->u + t * D, k->skip * out + into * step, k->lanes);
        NAME(store)(g->dt + t * D, dstep, k->lanes);
        g->skip += out * x;
        g->bias += dstep;
    }
}

static inline __attribute__((always_inline)) void NAME(selective_block_backward)(
    const NAME(block) *k, const VEC *rates, const VEC *kept, NAME(scratch) s, const REAL *dy, NAME(gradients) *g,
    int64_t start, int64_t stop, int N) {
    NAME(selective_again)(k, rates, kept, s, start, stop, N);
    NAME(selective_tile_backward)(k, rates, kept, s, dy, g, start, stop, N);
}

/* out: du, ddt, dz or NULL (B, T, D); drates (B, D, N); dskip, dbias (B, D); db, dc (groups, B, T, N); dh0 (B, D, N). */
void NAME(selective_backward)(const REAL *const *in, const REAL *kept, const REAL *dy, const REAL *dh_last,
                              REAL *const *out, const int64_t *sizes) {
    const int64_t B = sizes[SEL_B], T = sizes[SEL_T], D = sizes[SEL_D], N = sizes[SEL_N], tile = sizes[SEL_TILE];
    const int64_t threads = sizes[SEL_THREADS], blocks = (D + LANES - 1) / LANES, tiles = (T + tile - 1) / tile;
    const int64_t groups = threads > B ? (threads + B - 1) / B : 1, share = (blocks + groups - 1) / groups;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && B * groups > 1)
    for (int64_t task = 0; task < B * groups; task++) {
        const int64_t row = task / groups, group = task % groups, first = group * share * LANES;
        const int64_t width = D - first < share * LANES ? D - first : share * LANES;
        if (width <= 0) continue;
        VEC *rates = aligned_alloc(64, (size_t)(share * (3 * N + 2) + tile * (4 * N + 1)) * sizeof(VEC));
        VEC *dh = rates + share * N, *drates = dh + share * N, *dskip = drates + share * N, *dbias = dskip + share;
        NAME(scratch) s = {.states = dbias + share};
        s.decays = s.states + tile * N, s.db = s.decays + tile * N, s.dc = s.db + tile * N, s.plain = s.dc + tile * N;
        NAME(spread)(in[5] + first * N, rates, width, N, LOG2_E);
        NAME(spread)(dh_last + (row * D + first) * N, dh, width, N, 1);
        memset(drates, 0, (size_t)(share * (N + 2)) * sizeof(VEC));
        for (int64_t index = tiles - 1; index >= 0; index--) {
            const int64_t start = index * tile, stop = start + tile < T ? start + tile : T;
            memset(s.db, 0, (size_t)(2 * tile * N) * sizeof(VEC));
            for (int64_t d = 0; d < width; d += LANES) {
                const int64_t at = d / LANES, lanes = width - d, base = row * T * D + first + d;
                const NAME(block) k = NAME(block_at)(in, sizes, row, first + d, lanes);
                const VEC *start_states = (const VEC *)kept + ((row * tiles + index) * blocks + first / LANES + at) * N;
                NAME(gradients) g = {.h = dh + at * N, .rates = drates + at * N, .skip = dskip[at], .bias = dbias[at],
                                     .u = out[0] + base, .dt = out[1] + base, .z = out[2] ? out[2] + base : NULL};
                if (N == 16) NAME(selective_block_backward)(&k, rates + at * N, start_states, s, dy + base, &g, start, stop, 16);
                else NAME(selective_block_backward)(&k, rates + at * N, start_states, s, dy + base, &g, start, stop, N);
                dskip[at] = g.skip, dbias[at] = g.bias;
            }
            for (int64_t t = start; t < stop; t++)
                for (int64_t n = 0; n < N; n++) {
                    const int64_t to = ((group * B + row) * T + t) * N + n, from = (t - start) * N + n;
                    out[6][to] = NAME(total)(s.db[from]);
                    out[7][to] = NAME(total)(s.dc[from]);
                }
        }
        NAME(gather)(drates, out[3] + (row * D + first) * N, width, N);
        NAME(gather)(dskip, out[4] + row * D + first, width, 1);
        NAME(gather)(dbias, out[5] + row * D + first, width, 1);
        NAME(gather)(dh, out[8] + (row * D + first) * N, width, N);
        free(rates);
    }
}
