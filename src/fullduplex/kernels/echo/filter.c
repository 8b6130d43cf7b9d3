/* The adaptive echo filter of `fullduplex.numerics.echo_filter`, which is its slow twin and says what is
   computed. Here the same numbers lie partitions innermost, LANES of them to a vector, so that one pass of a Fourier
   transform is a pass for eight partitions. Partitions past the last are padding: of variance 0, they learn nothing. */
#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE__
#include <immintrin.h>
#endif

#define BLOCK 128
#define BINS (BLOCK + 1)
#define POINTS 128 /* complex: a spectrum of 256 real samples */
#define LANES 8

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

typedef struct {
    vec re[POINTS], im[POINTS];
} points;

typedef struct {
    vec re[BINS], im[BINS];
} spectrum;

static const float DRIFT = 0.9998f, TALKER_MEMORY = 0.8f, POWER_FLOOR = 1e-6f;

static float cosine[POINTS], sine[POINTS]; /* e^(2 pi i n / 256) */
static uint8_t reversed[POINTS];           /* of seven bits */

__attribute__((constructor)) static void fill_tables(void) {
    for (int n = 0; n < POINTS; n++) {
        cosine[n] = (float)cos(3.14159265358979323846 * n / POINTS);
        sine[n] = (float)sin(3.14159265358979323846 * n / POINTS);
        for (int bit = 0; bit < 7; bit++) reversed[n] |= (uint8_t)((n >> bit & 1) << (6 - bit));
    }
}

/* (a, b) <- (a + w b, a - w b), w = c + i s. */
#define GATHER(a, b, c, s)                                                                                             \
    do {                                                                                                               \
        const vec re_ = (c) * b##_re - (s) * b##_im, im_ = (c) * b##_im + (s) * b##_re;                                \
        b##_re = a##_re - re_, b##_im = a##_im - im_;                                                                  \
        a##_re += re_, a##_im += im_;                                                                                  \
    } while (0)

/* (a, b) <- (a + b, (a - b) w), w = c - i s. */
#define SPREAD(a, b, c, s)                                                                                             \
    do {                                                                                                               \
        const vec re_ = a##_re - b##_re, im_ = a##_im - b##_im;                                                        \
        a##_re += b##_re, a##_im += b##_im;                                                                            \
        b##_re = (c) * re_ + (s) * im_, b##_im = (c) * im_ - (s) * re_;                                                \
    } while (0)

#define LOAD(a, at) vec a##_re = x->re[at], a##_im = x->im[at]
#define STORE(a, at) x->re[at] = a##_re, x->im[at] = a##_im
#define LOAD_FOUR(at, step)                                                                                            \
    LOAD(a, at);                                                                                                       \
    LOAD(b, (at) + (step));                                                                                            \
    LOAD(c, (at) + 2 * (step));                                                                                        \
    LOAD(d, (at) + 3 * (step))
#define STORE_FOUR(at, step)                                                                                           \
    STORE(a, at), STORE(b, (at) + (step)), STORE(c, (at) + 2 * (step)), STORE(d, (at) + 3 * (step))

/* Decimation in time: from bit-reversed order to natural order, e^(+...), not divided by POINTS. Two stages to a pass over
   memory. */
static void inverse(points *x) {
    for (int at = 0; at < POINTS; at += 2) {
        LOAD(a, at);
        LOAD(b, at + 1);
        GATHER(a, b, 1.0f, 0.0f);
        STORE(a, at);
        STORE(b, at + 1);
    }
    for (int half = 2; half < POINTS; half *= 4)
        for (int j = 0; j < half; j++) {
            const int n = j * (POINTS / half), m = n / 2;
            for (int at = j; at < POINTS; at += 4 * half) {
                LOAD_FOUR(at, half);
                GATHER(a, b, cosine[n], sine[n]);
                GATHER(c, d, cosine[n], sine[n]);
                GATHER(a, c, cosine[m], sine[m]);
                GATHER(b, d, -sine[m], cosine[m]); /* a quarter turn on */
                STORE_FOUR(at, half);
            }
        }
}

/* Decimation in frequency: from natural order to bit-reversed order, e^(-...). */
static void forward(points *x) {
    for (int half = POINTS / 4; half > 1; half /= 4)
        for (int j = 0; j < half; j++) {
            const int n = j * (POINTS / half), m = n / 2;
            for (int at = j; at < POINTS; at += 4 * half) {
                LOAD_FOUR(at, half);
                SPREAD(a, c, cosine[m], sine[m]);
                SPREAD(b, d, -sine[m], cosine[m]);
                SPREAD(a, b, cosine[n], sine[n]);
                SPREAD(c, d, cosine[n], sine[n]);
                STORE_FOUR(at, half);
            }
        }
    for (int at = 0; at < POINTS; at += 2) {
        LOAD(a, at);
        LOAD(b, at + 1);
        SPREAD(a, b, 1.0f, 0.0f);
        STORE(a, at);
        STORE(b, at + 1);
    }
}

/* 256 real samples whose even ones are `re` and whose odd ones are `im`, from their spectrum. */
static void samples_of(const spectrum *X, points *x) {
    for (int k = 0; k < POINTS; k++) {
        const vec even_re = X->re[k] + X->re[POINTS - k], even_im = X->im[k] - X->im[POINTS - k];
        const vec re = X->re[k] - X->re[POINTS - k], im = X->im[k] + X->im[POINTS - k];
        const vec odd_re = cosine[k] * re - sine[k] * im, odd_im = cosine[k] * im + sine[k] * re;
        x->re[reversed[k]] = (even_re - odd_im) * (0.5f / POINTS);
        x->im[reversed[k]] = (even_im + odd_re) * (0.5f / POINTS);
    }
    inverse(x);
}

/* The spectrum of 256 real samples; `x` is used up. */
static void spectrum_of(points *x, spectrum *X) {
    forward(x);
    X->re[0] = x->re[0] + x->im[0];
    X->re[POINTS] = x->re[0] - x->im[0];
    X->im[0] = X->im[POINTS] = (vec){0};
    for (int k = 1; k < POINTS; k++) {
        const int a = reversed[k], b = reversed[POINTS - k];
        const vec even_re = x->re[a] + x->re[b], even_im = x->im[a] - x->im[b];
        const vec odd_re = x->im[a] + x->im[b], odd_im = x->re[b] - x->re[a];
        X->re[k] = 0.5f * (even_re + cosine[k] * odd_re + sine[k] * odd_im);
        X->im[k] = 0.5f * (even_im + cosine[k] * odd_im - sine[k] * odd_re);
    }
}

/* A block and the one after it into one lane. */
static void lay(points *x, const float *first, const float *second) {
    memset(x, 0, sizeof *x);
    for (int n = 0; n < POINTS / 2; n++) {
        x->re[n][0] = first[2 * n];
        x->im[n][0] = first[2 * n + 1];
        x->re[n + POINTS / 2][0] = second[2 * n];
        x->im[n + POINTS / 2][0] = second[2 * n + 1];
    }
}

/* By halves: a sum in order would wait for eight additions one after the other. */
static float total(vec v) {
    const float a = v[0] + v[4], b = v[1] + v[5], c = v[2] + v[6], d = v[3] + v[7];
    return (a + c) + (b + d);
}

/* The parts of a state: five planes of BINS x P with the partitions innermost, then BINS and BLOCK numbers. */
typedef struct {
    float *played_re, *played_im, *path_re, *path_im, *variance, *talker, *far;
} parts;

static parts parts_of(float *state, int64_t P) {
    const int64_t plane = BINS * P;
    return (parts){state, state + plane, state + 2 * plane, state + 3 * plane, state + 4 * plane, state + 5 * plane,
                   state + 5 * plane + BINS};
}

/* Everything played is one block older; sums over the partitions: the echo's spectrum and the doubt. */
static void echo_and_doubt(parts s, const spectrum *far, int64_t P, spectrum *echo, float *doubt) {
    for (int f = 0; f < BINS; f++) {
        const int64_t row = f * P;
        memmove(s.played_re + row + 1, s.played_re + row, (size_t)(P - 1) * sizeof(float));
        memmove(s.played_im + row + 1, s.played_im + row, (size_t)(P - 1) * sizeof(float));
        s.played_re[row] = far->re[f][0];
        s.played_im[row] = far->im[f][0];
        vec re = {0}, im = {0}, power = {0};
        for (int64_t at = row; at < row + P; at += LANES) {
            const vec a = *(loose *)(s.played_re + at), b = *(loose *)(s.played_im + at);
            const vec c = *(loose *)(s.path_re + at), d = *(loose *)(s.path_im + at);
            re += a * c - b * d;
            im += a * d + b * c;
            power += (a * a + b * b) * *(loose *)(s.variance + at);
        }
        echo->re[f] = (vec){total(re)};
        echo->im[f] = (vec){total(im)};
        doubt[f] = 0.5f * total(power); /* half: overlap-save sees one of two blocks */
    }
}

/* Learn from what is left: LANES partitions. `noise`: doubt and talker. */
static void learn(parts s, const spectrum *rest, const float *noise, int64_t first, int64_t P) {
    spectrum change;
    points x;
    vec step[BINS];
    for (int f = 0; f < BINS; f++) {
        const int64_t at = f * P + first;
        const vec a = *(loose *)(s.played_re + at), b = *(loose *)(s.played_im + at);
        const float re = rest->re[f][0], im = rest->im[f][0];
        step[f] = *(loose *)(s.variance + at) / noise[f];
        change.re[f] = step[f] * (a * re + b * im);
        change.im[f] = step[f] * (a * im - b * re);
    }
    samples_of(&change, &x);
    memset(x.re + POINTS / 2, 0, sizeof x.re / 2); /* each partition is a filter of one block */
    memset(x.im + POINTS / 2, 0, sizeof x.im / 2);
    spectrum_of(&x, &change);
    for (int f = 0; f < BINS; f++) {
        const int64_t at = f * P + first;
        const vec a = *(loose *)(s.played_re + at), b = *(loose *)(s.played_im + at);
        const vec re = DRIFT * (*(loose *)(s.path_re + at) + change.re[f]);
        const vec im = DRIFT * (*(loose *)(s.path_im + at) + change.im[f]);
        const vec shrink = 1.0f - 0.5f * step[f] * (a * a + b * b);
        *(loose *)(s.path_re + at) = re;
        *(loose *)(s.path_im + at) = im;
        *(loose *)(s.variance + at) = DRIFT * DRIFT * shrink * *(loose *)(s.variance + at) +
                                        (1.0f - DRIFT * DRIFT) * (re * re + im * im);
    }
}

/* One block: the expected mean square of the echo that is left. */
static float step(parts s, const float *near, const float *far, float *rest, float *echo, int64_t P) {
    static const float silence[BLOCK];
    spectrum X;
    points x;
    float doubt[BINS], doubt_sum = 0;
    lay(&x, s.far, far);
    spectrum_of(&x, &X);
    spectrum echo_F;
    echo_and_doubt(s, &X, P, &echo_F, doubt);
    samples_of(&echo_F, &x);
    for (int n = 0; n < BLOCK; n++) {
        echo[n] = (n % 2 ? x.im : x.re)[POINTS / 2 + n / 2][0];
        rest[n] = near[n] - echo[n];
    }
    lay(&x, silence, rest);
    spectrum_of(&x, &X);
    for (int f = 0; f < BINS; f++) {
        const float power = X.re[f][0] * X.re[f][0] + X.im[f][0] * X.im[f][0];
        s.talker[f] = TALKER_MEMORY * s.talker[f] + (1 - TALKER_MEMORY) * power;
        doubt_sum += doubt[f];
        doubt[f] += s.talker[f] + POWER_FLOOR;
    }
    for (int64_t first = 0; first < P; first += LANES) learn(s, &X, doubt, first, P);
    memcpy(s.far, far, BLOCK * sizeof(float));
    return doubt_sum / (BLOCK * BLOCK); /* Parseval over the half spectrum of 256 samples, of which 128 hold sound */
}

/* Of a state: how many numbers, for P partitions, P a multiple of `echo_lanes()`. */
int64_t echo_state_size(int64_t P) { return 5 * BINS * P + BINS + BLOCK; }

int64_t echo_lanes(void) { return LANES; }

/* After minutes of silence what is known fades towards numbers so small that a processor takes a hundred times as long for
   each: they are taken for 0 while `on`. Returns what to give back. */
static unsigned flush_tiny(unsigned on) {
#ifdef __SSE__
    const unsigned before = _mm_getcsr();
    _mm_setcsr(on);
    return before;
#else
    return on;
#endif
}

/* Blocks one after another, the state changed where it lies. sounds: near, far, rest and echo, of which the first two are read
   and the last two written, then a doubt for every block. */
void echo_run(float *state, float *sounds, int64_t blocks, int64_t P) {
    const unsigned before = flush_tiny(0x9fc0); /* default rounding, no exceptions, flush to zero, denormals are zero */
    const parts s = parts_of(state, P);
    float *near = sounds, *far = near + blocks * BLOCK, *rest = far + blocks * BLOCK, *echo = rest + blocks * BLOCK;
    float *doubt = echo + blocks * BLOCK;
    for (int64_t i = 0; i < blocks; i++) {
        const int64_t at = i * BLOCK;
        doubt[i] = step(s, near + at, far + at, rest + at, echo + at, P);
    }
    flush_tiny(before);
}
