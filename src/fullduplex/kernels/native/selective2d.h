/* The selective scan over a grid of time and variates; equations in selective2d.py. With e = e^(s r) - 1 both states move as

     h1 += e1 (h1 - k2 h2 + x b1 / r1)        h1, h2 of this variate, one step before
     h2  = h2' + e2 (h2' - k3 h1' + x b2 / r2)   h1', h2' of the variate before, at this step

   so that nothing cancels for short steps. LANES channels side by side, all variates of a column before the next column.
   States lie as (B, V, N, E). Time goes in tiles; the states before each tile are all that the backward pass needs.

   in: u, dt1, dt2 (B, T, V, E), b1, c1, b2, c2 (B, T, V, N, cells `S2_PORT` apart), rates r1, r2, couplings k2, k3 (N, E),
   bias1, bias2, skip (E), h1, h2 (B, V, N, E). sizes: S2_*. */

typedef struct {
    const REAL *const *in;
    const int64_t *sizes;
    VEC *turn1, *back1, *turn2, *back2, *k2, *k3; /* [N]: r log2 e, 1 / r, couplings */
    VEC bias1, bias2, skip;
    int64_t row, d, lanes;
} NAME(grid);

/* Where the six arrays of a block of channels lie, and its lines. */
static inline void NAME(grid_find)(NAME(grid) *g, VEC *room) {
    const int64_t N = g->sizes[S2_N];
    g->turn1 = room, g->back1 = room + N, g->turn2 = room + 2 * N, g->back2 = room + 3 * N;
    g->k2 = room + 4 * N, g->k3 = room + 5 * N;
    g->bias1 = NAME(load)(g->in[11] + g->d, g->lanes), g->bias2 = NAME(load)(g->in[12] + g->d, g->lanes);
    g->skip = NAME(load)(g->in[13] + g->d, g->lanes);
}

/* The same, and the arrays filled. */
static void NAME(grid_open)(NAME(grid) *g, VEC *room) {
    const int64_t N = g->sizes[S2_N], E = g->sizes[S2_E], d = g->d, left = g->lanes;
    const VEC whole = NAME(splat)(1);
    NAME(grid_find)(g, room);
    for (int64_t n = 0; n < N; n++) {
        const VEC r1 = NAME(load)(g->in[7] + n * E + d, left), r2 = NAME(load)(g->in[8] + n * E + d, left);
        g->turn1[n] = r1 * (REAL)LOG2_E, g->turn2[n] = r2 * (REAL)LOG2_E;
        g->back1[n] = whole / NAME(choose)(r1 == 0, whole, r1), g->back2[n] = whole / NAME(choose)(r2 == 0, whole, r2);
        g->k2[n] = NAME(load)(g->in[9] + n * E + d, left), g->k3[n] = NAME(load)(g->in[10] + n * E + d, left);
    }
}

/* Which cell of the inputs stands at column t, place v: backwards systems read the variates from the last. */
static inline int64_t NAME(grid_cell)(const int64_t *sizes, int64_t row, int64_t t, int64_t v) {
    return (row * sizes[S2_T] + t) * sizes[S2_V] + (sizes[S2_BACKWARDS] ? sizes[S2_V] - 1 - v : v);
}

/* states, next: [V][2][N], the column before and this one (may be the same); kept1, kept2: e of every cell, or NULL. */
static inline __attribute__((always_inline)) VEC NAME(grid_step)(const NAME(grid) *g, int64_t cell, const VEC *before,
                                                                  const VEC *beside, VEC *h, VEC *grown, int64_t N) {
    const int64_t E = g->sizes[S2_E], at = cell * E + g->d, port1 = cell * g->sizes[S2_PORT1], port2 = cell * g->sizes[S2_PORT2];
    const VEC x = NAME(load)(g->in[0] + at, g->lanes);
    const VEC s1 = NAME(softplus)(NAME(load)(g->in[1] + at, g->lanes) + g->bias1);
    const VEC s2 = NAME(softplus)(NAME(load)(g->in[2] + at, g->lanes) + g->bias2);
    const REAL *b1 = g->in[3] + port1, *c1 = g->in[4] + port1, *b2 = g->in[5] + port2, *c2 = g->in[6] + port2;
    VEC sum = g->skip * x;
#pragma GCC unroll 4
    for (int64_t n = 0; n < N; n++) {
        const VEC e1 = NAME(exp2m1)(s1 * g->turn1[n]), e2 = NAME(exp2m1)(s2 * g->turn2[n]);
        const VEC h1 = before[n] + e1 * (before[n] - g->k2[n] * before[N + n] + g->back1[n] * x * b1[n]);
        const VEC h2 = beside[N + n] + e2 * (beside[N + n] - g->k3[n] * beside[n] + g->back2[n] * x * b2[n]);
        h[n] = h1, h[N + n] = h2;
        if (grown) grown[n] = e1, grown[N + n] = e2;
        sum += h1 * c1[n] + h2 * c2[n];
    }
    return sum;
}

static void NAME(grid_load)(const REAL *h1, const REAL *h2, VEC *states, const NAME(grid) *g) {
    const int64_t V = g->sizes[S2_V], N = g->sizes[S2_N], E = g->sizes[S2_E];
    for (int64_t v = 0; v < V; v++)
        for (int64_t n = 0; n < N; n++) {
            const int64_t from = ((g->row * V + v) * N + n) * E + g->d;
            states[v * 2 * N + n] = NAME(load)(h1 + from, g->lanes), states[v * 2 * N + N + n] = NAME(load)(h2 + from, g->lanes);
        }
}

static void NAME(grid_store)(REAL *h1, REAL *h2, const VEC *states, const NAME(grid) *g) {
    const int64_t V = g->sizes[S2_V], N = g->sizes[S2_N], E = g->sizes[S2_E];
    for (int64_t v = 0; v < V; v++)
        for (int64_t n = 0; n < N; n++) {
            const int64_t to = ((g->row * V + v) * N + n) * E + g->d;
            NAME(store)(h1 + to, states[v * 2 * N + n], g->lanes), NAME(store)(h2 + to, states[v * 2 * N + N + n], g->lanes);
        }
}

/* One column of one row: states are read and written where they lie, as there is no second column to keep them near for. */
static void NAME(grid_column)(const REAL *const *in, REAL *y, REAL *h1, REAL *h2, int64_t row, const int64_t *sizes) {
    const int64_t V = sizes[S2_V], E = sizes[S2_E], N = sizes[S2_N], blocks = (E + LANES - 1) / LANES;
    VEC *room = aligned_alloc(64, (size_t)(6 * N * blocks) * sizeof(VEC));
    for (int64_t v = 0; v < V; v++)
        for (int64_t block = 0; block < blocks; block++) {
            NAME(grid) g = {.in = in, .sizes = sizes, .row = row, .d = block * LANES, .lanes = E - block * LANES};
            if (v == 0) NAME(grid_open)(&g, room + 6 * N * block);
            else NAME(grid_find)(&g, room + 6 * N * block);
            const int64_t cell = NAME(grid_cell)(sizes, row, 0, v), at = cell * E + g.d;
            const int64_t port1 = cell * sizes[S2_PORT1], port2 = cell * sizes[S2_PORT2], left = g.lanes;
            const VEC x = NAME(load)(in[0] + at, left);
            const VEC s1 = NAME(softplus)(NAME(load)(in[1] + at, left) + g.bias1);
            const VEC s2 = NAME(softplus)(NAME(load)(in[2] + at, left) + g.bias2);
            const REAL *b1 = in[3] + port1, *c1 = in[4] + port1, *b2 = in[5] + port2, *c2 = in[6] + port2;
            VEC sum = g.skip * x;
#pragma GCC unroll 4
            for (int64_t n = 0; n < N; n++) {
                const int64_t here = ((row * V + v) * N + n) * E + g.d, there = here - N * E;
                const VEC before1 = NAME(load)(in[14] + here, left), before2 = NAME(load)(in[15] + here, left);
                const VEC beside1 = v ? NAME(load)(h1 + there, left) : (VEC){0}, beside2 = v ? NAME(load)(h2 + there, left) : (VEC){0};
                const VEC e1 = NAME(exp2m1)(s1 * g.turn1[n]), e2 = NAME(exp2m1)(s2 * g.turn2[n]);
                const VEC next1 = before1 + e1 * (before1 - g.k2[n] * before2 + g.back1[n] * x * b1[n]);
                const VEC next2 = beside2 + e2 * (beside2 - g.k3[n] * beside1 + g.back2[n] * x * b2[n]);
                NAME(store)(h1 + here, next1, left), NAME(store)(h2 + here, next2, left);
                sum += next1 * c1[n] + next2 * c2[n];
            }
            NAME(store)(y + at, sum, left);
        }
    free(room);
}

/* y (B, T, V, E), h1, h2 after the last column, kept: [B][tiles][blocks][V][2][N] vectors, or NULL. */
void NAME(selective2d)(const REAL *const *in, REAL *y, REAL *h1, REAL *h2, REAL *kept, const int64_t *sizes) {
    const int64_t B = sizes[S2_B], T = sizes[S2_T], V = sizes[S2_V], E = sizes[S2_E], N = sizes[S2_N], tile = sizes[S2_TILE];
    const int64_t threads = sizes[S2_THREADS], blocks = (E + LANES - 1) / LANES, tiles = (T + tile - 1) / tile, column = V * 2 * N;
    if (T == 1 && !kept) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && B > 1)
        for (int64_t row = 0; row < B; row++) NAME(grid_column)(in, y, h1, h2, row, sizes);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && B * blocks > 1)
    for (int64_t task = 0; task < B * blocks; task++) {
        NAME(grid) g = {.in = in, .sizes = sizes, .row = task / blocks, .d = task % blocks * LANES};
        g.lanes = E - g.d < LANES ? E - g.d : LANES;
        VEC *room = aligned_alloc(64, (size_t)(8 * N + column) * sizeof(VEC)), *none = room + 6 * N, *states = none + 2 * N;
        NAME(grid_open)(&g, room);
        memset(none, 0, (size_t)(2 * N) * sizeof(VEC));
        NAME(grid_load)(in[14], in[15], states, &g);
        for (int64_t t = 0; t < T; t++) {
            if (kept && t % tile == 0)
                memcpy((VEC *)kept + ((g.row * tiles + t / tile) * blocks + task % blocks) * column, states, (size_t)column * sizeof(VEC));
            for (int64_t v = 0; v < V; v++) {
                VEC *h = states + v * 2 * N, *beside = v ? h - 2 * N : none;
                const int64_t cell = NAME(grid_cell)(sizes, g.row, t, v);
                const VEC sum = N == 16 ? NAME(grid_step)(&g, cell, h, beside, h, NULL, 16)
                                        : NAME(grid_step)(&g, cell, h, beside, h, NULL, N);
                NAME(store)(y + cell * E + g.d, sum, g.lanes);
            }
        }
        NAME(grid_store)(h1, h2, states, &g);
        free(room);
    }
}

typedef struct {
    VEC *states, *grown;  /* [tile][V][2][N], of the tile that is run again */
    VEC *ports;           /* [tile][V][4][N]: gradients of b1, c1, b2, c2, summed over blocks */
    VEC *none;            /* [2][N]: zero */
    VEC *carry;           /* [2][N]: into the variate before */
} NAME(grid_room);

typedef struct {
    VEC *h;                     /* [V][2][N]: of the states after this column */
    VEC *rates1, *rates2, *k2, *k3; /* [N] */
    VEC *lines;                 /* bias1, bias2, skip */
} NAME(grid_gradients);

/* One cell backwards; out: du, ddt1, ddt2. */
static inline __attribute__((always_inline)) void NAME(grid_step_backward)(
    const NAME(grid) *g, const NAME(grid_gradients) *to, const NAME(grid_room) *room, const VEC *before, const VEC *beside,
    int64_t index, int64_t cell, int64_t v, const REAL *dy, REAL *const *out, int64_t N) {
    const int64_t E = g->sizes[S2_E], at = cell * E + g->d, port1 = cell * g->sizes[S2_PORT1], port2 = cell * g->sizes[S2_PORT2];
    const VEC x = NAME(load)(g->in[0] + at, g->lanes), out_y = NAME(load)(dy + at, g->lanes);
    const VEC raw1 = NAME(load)(g->in[1] + at, g->lanes) + g->bias1, raw2 = NAME(load)(g->in[2] + at, g->lanes) + g->bias2;
    const VEC s1 = NAME(softplus)(raw1), s2 = NAME(softplus)(raw2);
    const REAL *b1 = g->in[3] + port1, *c1 = g->in[4] + port1, *b2 = g->in[5] + port2, *c2 = g->in[6] + port2;
    const VEC *h = room->states + index * 2 * N, *grown = room->grown + index * 2 * N;
    VEC *ports = room->ports + index * 4 * N, *carry = room->carry, *dh = to->h + v * 2 * N;
    VEC into = {0}, ds1 = {0}, ds2 = {0};
#pragma GCC unroll 2
    for (int64_t n = 0; n < N; n++) {
        const VEC e1 = grown[n], e2 = grown[N + n];
        const VEC g1 = dh[n] + carry[n] + out_y * c1[n], g2 = dh[N + n] + carry[N + n] + out_y * c2[n];
        const VEC pull1 = g->back1[n] * x * b1[n], pull2 = g->back2[n] * x * b2[n];
        const VEC q1 = g1 * e1, q2 = g2 * e2, kept1 = g1 + q1, kept2 = g2 + q2;
        const VEC turn1 = kept1 * (before[n] - g->k2[n] * before[N + n] + pull1);
        const VEC turn2 = kept2 * (beside[N + n] - g->k3[n] * beside[n] + pull2);
        to->rates1[n] += turn1 * s1 - q1 * pull1 * g->back1[n];
        to->rates2[n] += turn2 * s2 - q2 * pull2 * g->back2[n];
        to->k2[n] -= q1 * before[N + n];
        to->k3[n] -= q2 * beside[n];
        ds1 += turn1 * g->turn1[n], ds2 += turn2 * g->turn2[n];
        const VEC in1 = q1 * g->back1[n], in2 = q2 * g->back2[n];
        into += in1 * b1[n] + in2 * b2[n];
        ports[n] += in1 * x, ports[N + n] += out_y * h[n], ports[2 * N + n] += in2 * x, ports[3 * N + n] += out_y * h[N + n];
        dh[n] = kept1, dh[N + n] = -q1 * g->k2[n];
        carry[n] = -q2 * g->k3[n], carry[N + n] = kept2;
    }
    ds1 *= (REAL)LN_2 * NAME(sigmoid)(raw1), ds2 *= (REAL)LN_2 * NAME(sigmoid)(raw2);
    NAME(store)(out[0] + at, g->skip * out_y + into, g->lanes);
    NAME(store)(out[1] + at, ds1, g->lanes);
    NAME(store)(out[2] + at, ds2, g->lanes);
    to->lines[0] += ds1, to->lines[1] += ds2, to->lines[2] += out_y * x;
}

/* A tile of one block of channels: forward once more from its kept states, then backward. */
static void NAME(grid_tile_backward)(const NAME(grid) *g, const NAME(grid_gradients) *to, const NAME(grid_room) *room,
                                     const VEC *kept, int64_t start, int64_t stop, const REAL *dy, REAL *const *out) {
    const int64_t V = g->sizes[S2_V], N = g->sizes[S2_N], column = V * 2 * N;
    for (int64_t t = start; t < stop; t++)
        for (int64_t v = 0; v < V; v++) {
            VEC *h = room->states + (t - start) * column + v * 2 * N;
            const VEC *before = t > start ? h - column : kept + v * 2 * N, *beside = v ? h - 2 * N : room->none;
            VEC *grown = room->grown + (t - start) * column + v * 2 * N;
            (void)NAME(grid_step)(g, NAME(grid_cell)(g->sizes, g->row, t, v), before, beside, h, grown, N);
        }
    for (int64_t t = stop - 1; t >= start; t--) {
        memset(room->carry, 0, (size_t)(2 * N) * sizeof(VEC));
        for (int64_t v = V - 1; v >= 0; v--) {
            const int64_t index = (t - start) * V + v, cell = NAME(grid_cell)(g->sizes, g->row, t, v);
            const VEC *h = room->states + index * 2 * N;
            const VEC *before = t > start ? h - column : kept + v * 2 * N, *beside = v ? h - 2 * N : room->none;
            NAME(grid_step_backward)(g, to, room, before, beside, index, cell, v, dy, out, N);
        }
    }
}

/* out: du, ddt1, ddt2 (B, T, V, E); db1, dc1, db2, dc2 (B, T, V, N); drates1, drates2, dk2, dk3 (B, N, E); dbias1, dbias2,
   dskip (B, E); dh1, dh2 (B, V, N, E). */
void NAME(selective2d_backward)(const REAL *const *in, const REAL *kept, const REAL *dy, const REAL *dh1, const REAL *dh2,
                                REAL *const *out, const int64_t *sizes) {
    const int64_t B = sizes[S2_B], T = sizes[S2_T], V = sizes[S2_V], E = sizes[S2_E], N = sizes[S2_N], tile = sizes[S2_TILE];
    const int64_t threads = sizes[S2_THREADS], blocks = (E + LANES - 1) / LANES, tiles = (T + tile - 1) / tile, column = V * 2 * N;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && B > 1)
    for (int64_t row = 0; row < B; row++) {
        const int64_t each = 4 * N + 3 + column; /* gradients of a block that last through all tiles */
        VEC *all = aligned_alloc(64, (size_t)(10 * N + blocks * each + 4 * tile * column) * sizeof(VEC)), *constants = all;
        NAME(grid_room) room = {.none = all + 6 * N, .carry = all + 8 * N};
        VEC *lasting = all + 10 * N;
        room.states = lasting + blocks * each, room.grown = room.states + tile * column, room.ports = room.grown + tile * column;
        memset(room.none, 0, (size_t)(2 * N) * sizeof(VEC));
        memset(lasting, 0, (size_t)(blocks * each) * sizeof(VEC));
        for (int64_t index = tiles - 1; index >= 0; index--) {
            const int64_t start = index * tile, stop = start + tile < T ? start + tile : T;
            memset(room.ports, 0, (size_t)(2 * tile * column) * sizeof(VEC));
            for (int64_t block = 0; block < blocks; block++) {
                NAME(grid) g = {.in = in, .sizes = sizes, .row = row, .d = block * LANES};
                g.lanes = E - g.d < LANES ? E - g.d : LANES;
                NAME(grid_open)(&g, constants);
                VEC *own = lasting + block * each;
                const NAME(grid_gradients) to = {.rates1 = own, .rates2 = own + N, .k2 = own + 2 * N, .k3 = own + 3 * N,
                                                 .lines = own + 4 * N, .h = own + 4 * N + 3};
                if (index == tiles - 1) NAME(grid_load)(dh1, dh2, to.h, &g);
                const VEC *first = (const VEC *)kept + ((row * tiles + index) * blocks + block) * column;
                NAME(grid_tile_backward)(&g, &to, &room, first, start, stop, dy, out);
                if (index) continue;
                NAME(grid_store)(out[14], out[15], to.h, &g);
                for (int64_t n = 0; n < N; n++)
                    for (int i = 0; i < 4; i++) NAME(store)(out[7 + i] + (row * N + n) * E + g.d, own[i * N + n], g.lanes);
                for (int i = 0; i < 3; i++) NAME(store)(out[11 + i] + row * E + g.d, to.lines[i], g.lanes);
            }
            for (int64_t t = start; t < stop; t++)
                for (int64_t v = 0; v < V; v++)
                    for (int64_t i = 0; i < 4 * N; i++)
                        out[3 + i / N][NAME(grid_cell)(sizes, row, t, v) * N + i % N] =
                            NAME(total)(room.ports[((t - start) * V + v) * 4 * N + i]);
        }
        free(all);
    }
}
