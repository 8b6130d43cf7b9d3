/* One pass of the state space duality of Mamba-2: H_t = decay_t H_{t-1} + scale_t k_t v_t^T, out_t = q_t^T H_t, for each
   row of the batch and head. Its gradients are the same pass with the roles of v, k, q exchanged.

   SSD_STEPS steps at a time: within them out_s takes q_s from the state before them and the (k_r . q_s) v_r of the steps
   up to s; the state then takes all of them at once. Two multiply-adds a state, step and lane; the state of a head stays
   in the first cache, 4 LANES of it in registers. No decay is divided by another, so any decay in [0, 1] is exact.

   The state of a head lies as (I, J): I lanes of v and out, J entries of k and q. sizes: B, T, H, I, J, heads a key,
   heads a query, heads a value share, reverse, threads, the strides over batch, time, head of v, k, q, out, and of the
   state over i and j. decay, scale: (B, T, H). h0 may be NULL (zero), h_last too (not wanted), out too. */

typedef struct {
    const REAL *v[SSD_STEPS]; /* of the steps of this turn, at the first lane; NULL beyond the last step */
    REAL *out[SSD_STEPS];
    REAL *k, *q;                            /* [SSD_STEPS][J]: scaled with the decays to the end, from the start */
    REAL mix[SSD_STEPS][SSD_STEPS];         /* what v_r adds to out_s */
    REAL decay;                             /* over all steps of this turn */
} NAME(turn);

static inline __attribute__((always_inline)) void NAME(ssd_lanes)(const NAME(turn) *turn, VEC *state, int64_t J, int wide,
                                                                  int64_t lane, int64_t lanes) {
    VEC v[SSD_STEPS][SSD_WIDE], out[SSD_STEPS][SSD_WIDE];
    for (int s = 0; s < SSD_STEPS; s++)
        for (int w = 0; w < wide; w++) {
            v[s][w] = turn->v[s] ? NAME(load)(turn->v[s] + lane + w * LANES, lanes - w * LANES) : (VEC){0};
            out[s][w] = (VEC){0};
            for (int r = 0; r <= s; r++) out[s][w] += turn->mix[s][r] * v[r][w];
        }
    for (int64_t j = 0; j < J; j++) {
        VEC h[SSD_WIDE];
        for (int w = 0; w < wide; w++) h[w] = state[j * wide + w];
        for (int s = 0; s < SSD_STEPS; s++)
            for (int w = 0; w < wide; w++) out[s][w] += h[w] * turn->q[s * J + j];
        for (int w = 0; w < wide; w++) h[w] *= turn->decay;
        for (int s = 0; s < SSD_STEPS; s++)
            for (int w = 0; w < wide; w++) h[w] += v[s][w] * turn->k[s * J + j];
        for (int w = 0; w < wide; w++) state[j * wide + w] = h[w];
    }
    for (int s = 0; s < SSD_STEPS; s++)
        for (int w = 0; w < wide; w++)
            if (turn->out[s]) NAME(store)(turn->out[s] + lane + w * LANES, out[s][w], lanes - w * LANES);
}

static REAL NAME(dot)(const REAL *x, const REAL *y, int64_t count) {
    VEC sum = {0};
    for (int64_t i = 0; i < count; i += LANES) sum += NAME(load)(x + i, count - i) * NAME(load)(y + i, count - i);
    return NAME(total)(sum);
}

/* The steps of one turn: where they lie, and their keys and queries with the decays folded in. */
static void NAME(ssd_turn)(NAME(turn) *turn, const REAL *const *in, REAL *out, int64_t row, int64_t head, int64_t step,
                           const int64_t *sizes) {
    const int64_t T = sizes[SSD_T], H = sizes[SSD_H], J = sizes[SSD_J];
    REAL decay[SSD_STEPS], scale[SSD_STEPS];
    const REAL *key[SSD_STEPS] = {0}, *query[SSD_STEPS] = {0};
    for (int s = 0; s < SSD_STEPS; s++) {
        const int64_t i = step + s, t = sizes[SSD_REVERSE] ? T - 1 - i : i;
        const int there = i < T;
        decay[s] = there ? in[3][(row * T + t) * H + head] : 1;
        scale[s] = there ? in[4][(row * T + t) * H + head] : 0;
        turn->v[s] = there ? in[0] + row * sizes[SSD_V] + t * sizes[SSD_V + 1] + head / sizes[SSD_VALUE] * sizes[SSD_V + 2] : NULL;
        turn->out[s] = there && out ? out + row * sizes[SSD_OUT] + t * sizes[SSD_OUT + 1] + head * sizes[SSD_OUT + 2] : NULL;
        if (!there) continue;
        key[s] = in[1] + row * sizes[SSD_K] + t * sizes[SSD_K + 1] + head / sizes[SSD_KEY] * sizes[SSD_K + 2];
        query[s] = in[2] + row * sizes[SSD_Q] + t * sizes[SSD_Q + 1] + head / sizes[SSD_QUERY] * sizes[SSD_Q + 2];
    }
    REAL sofar = 1, left = 1;
    for (int s = 0; s < SSD_STEPS; s++) {
        sofar *= decay[s];
        REAL between = 1;
        for (int r = s; r >= 0; r--) {
            turn->mix[s][r] = query[s] && key[r] ? scale[r] * between * NAME(dot)(key[r], query[s], J) : 0;
            between *= decay[r];
        }
        for (int64_t j = 0; j < J; j++) turn->q[s * J + j] = query[s] ? sofar * query[s][j] : 0;
    }
    turn->decay = sofar;
    for (int s = SSD_STEPS - 1; s >= 0; s--) {
        const REAL weight = left * scale[s];
        for (int64_t j = 0; j < J; j++) turn->k[s * J + j] = key[s] ? weight * key[s][j] : 0;
        left *= decay[s];
    }
}

/* The state in blocks of `wide` vectors of lanes: [block][j][wide][LANES]; one way or the other. */
static void NAME(ssd_turn_state)(VEC *state, const REAL *from, REAL *to, const int64_t *sizes) {
    const int64_t I = sizes[SSD_I], J = sizes[SSD_J], over_i = sizes[SSD_STATE], over_j = sizes[SSD_STATE + 1];
    for (int64_t lane = 0; lane < I; lane += SSD_WIDE * LANES) {
        const int64_t left = (I - lane + LANES - 1) / LANES, wide = left < SSD_WIDE ? left : SSD_WIDE;
        VEC *block = state + lane / LANES * J;
        for (int64_t j = 0; j < J; j++)
            for (int64_t i = 0; i < wide * LANES; i++) {
                const int64_t at = (lane + i) * over_i + j * over_j;
                if (to && lane + i < I) to[at] = block[j * wide + i / LANES][i % LANES];
                if (!to) block[j * wide + i / LANES][i % LANES] = from && lane + i < I ? from[at] : 0;
            }
    }
}

/* One or two steps on a state that lies as (I, J) in memory: nothing is turned around. */
static void NAME(ssd_short)(const REAL *const *in, const REAL *from, REAL *out, REAL *to, int64_t row, int64_t head,
                            const int64_t *sizes) {
    const int64_t T = sizes[SSD_T], H = sizes[SSD_H], I = sizes[SSD_I], J = sizes[SSD_J];
    for (int64_t t = 0; t < T; t++, from = to) {
        const REAL decay = in[3][(row * T + t) * H + head], scale = in[4][(row * T + t) * H + head];
        const REAL *v = in[0] + row * sizes[SSD_V] + t * sizes[SSD_V + 1] + head / sizes[SSD_VALUE] * sizes[SSD_V + 2];
        const REAL *k = in[1] + row * sizes[SSD_K] + t * sizes[SSD_K + 1] + head / sizes[SSD_KEY] * sizes[SSD_K + 2];
        const REAL *q = in[2] + row * sizes[SSD_Q] + t * sizes[SSD_Q + 1] + head / sizes[SSD_QUERY] * sizes[SSD_Q + 2];
        REAL *y = out + row * sizes[SSD_OUT] + t * sizes[SSD_OUT + 1] + head * sizes[SSD_OUT + 2];
        for (int64_t i = 0; i < I; i++) {
            VEC sum = {0};
            for (int64_t j = 0; j < J; j += LANES) {
                VEC h = decay * NAME(load)(from + i * J + j, J - j) + scale * v[i] * NAME(load)(k + j, J - j);
                NAME(store)(to + i * J + j, h, J - j);
                sum += h * NAME(load)(q + j, J - j);
            }
            y[i] = NAME(total)(sum);
        }
    }
}

/* in: v, k, q, decay, scale. */
void NAME(ssd)(const REAL *const *in, const REAL *h0, REAL *out, REAL *h_last, const int64_t *sizes) {
    const int64_t B = sizes[SSD_B], T = sizes[SSD_T], H = sizes[SSD_H], I = sizes[SSD_I], J = sizes[SSD_J];
    const int64_t threads = sizes[SSD_THREADS], vectors = (I + LANES - 1) / LANES;
    const int64_t in_place = sizes[SSD_STATE] == J && sizes[SSD_STATE + 1] == 1 && !sizes[SSD_REVERSE];
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && B * H > 1)
    for (int64_t task = 0; task < B * H; task++) {
        const int64_t row = task / H, head = task % H;
        if (T <= 2 && in_place && h0 && h_last && out) {
            NAME(ssd_short)(in, h0 + task * I * J, out, h_last + task * I * J, row, head, sizes);
            continue;
        }
        VEC *state = aligned_alloc(64, (size_t)(vectors * J) * sizeof(VEC));
        REAL *folded = malloc((size_t)(2 * SSD_STEPS * J) * sizeof(REAL));
        NAME(turn) turn = {.k = folded, .q = folded + SSD_STEPS * J};
        NAME(ssd_turn_state)(state, h0 ? h0 + task * I * J : NULL, NULL, sizes);
        for (int64_t step = 0; step < T; step += SSD_STEPS) {
            NAME(ssd_turn)(&turn, in, out, row, head, step, sizes);
            for (int64_t lane = 0; lane < I; lane += SSD_WIDE * LANES) {
                VEC *block = state + lane / LANES * J;
                switch ((I - lane + LANES - 1) / LANES) {
                case 1: NAME(ssd_lanes)(&turn, block, J, 1, lane, I - lane); break;
                case 2: NAME(ssd_lanes)(&turn, block, J, 2, lane, I - lane); break;
                case 3: NAME(ssd_lanes)(&turn, block, J, 3, lane, I - lane); break;
                default: NAME(ssd_lanes)(&turn, block, J, 4, lane, I - lane);
                }
            }
        }
        if (h_last) NAME(ssd_turn_state)(state, NULL, h_last + task * I * J, sizes);
        free(folded);
        free(state);
    }
}
