/* A decoder of the Llama family (RMS norm, rotary positions, grouped-query attention, SwiGLU), for a few tokens at a time.

   The floor of one token is fetching every weight once; a batch costs little more, because its dot products are done in
   registers while the weights pass. A token's numbers do not depend on which tokens come with it, nor on the threads. */

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "packing.h"
#include "dots.h"
#include "layers.h"
#include "team.h"

enum { MOST = 32, PAIR_MOST = 128 }; /* tokens of a batch; pairs of a head */

typedef struct {
    Matrix query, key, value, out, gate, up, down;
    const float *attention_norm, *feed_norm, *query_bias, *key_bias, *value_bias; /* biases: may be NULL */
    uint16_t *keys, *values; /* (cells, kv_heads * head_width), float16 */
} Layer;

typedef struct {
    int32_t layers, width, heads, kv_heads, head_width, hidden, vocabulary, context, halves;
    float epsilon, rope_base;
    int32_t embedding_type;
    const uint8_t *embedding; /* as in the file */
    const float *norm;
    Matrix output;
    const Layer *layer;
} Model;

typedef struct {
    Model model;
    Team team;
    int tokens, start;
    const int32_t *cells;
    float *x, *normed, *query, *key, *value, *mixed, *hidden, *score, *cosine, *sine, *frequency;
    int8_t *code;
    float *scale, *shift;
    int32_t *sum;
    Codes codes[MOST];
    /* of the stage under way */
    const Layer *layer;
    const Matrix *matrix;
    const float *from, *weight;
    float *to;
    int from_width, step, add;
    const int32_t *which;
} Decoder;

static int most_of(int a, int b) { return a > b ? a : b; }

static int tiles_of(const Matrix *matrix) { return (matrix->rows + ROWS - 1) / ROWS; }

/* Codes for the next matrix: of `from` (tokens, from_width), normed by `weight` if there is one. */
static void quantise_piece(void *context, int t) {
    Decoder *self = context;
    int width = self->from_width, blocks = width / BLOCK;
    int row = self->which ? self->which[t] : t;
    const float *x = self->from + (int64_t)row * width;
    if (self->weight) {
        float *normed = self->normed + (int64_t)t * self->model.width;
        rms_norm(x, self->weight, width, self->model.epsilon, normed);
        x = normed;
    }
    int64_t at = (int64_t)t * width, block = (int64_t)t * blocks;
    quantise(x, width, self->code + at, self->scale + block, self->shift + block, self->sum + block);
    self->codes[t] = (Codes){self->code + at, self->scale + block, self->shift + block, self->sum + block};
}

static void quantise_all(Decoder *self, const float *from, const float *weight, int width, int tokens) {
    self->from = from;
    self->weight = weight;
    self->from_width = width;
    together(&self->team, quantise_piece, self, tokens);
}

/* Tiles [first, last) times all tokens: into out (tokens, stride), or added to it. */
static void multiply(
    const Decoder *self, const Matrix *matrix, int first, int last, int tokens, const float *bias, float *out, int stride,
    int add) {
    float rows[MOST * ROWS];
    for (int tile = first; tile < last; tile++) {
        tile_dots(matrix, tile, self->codes, tokens, rows);
        int base = tile * ROWS, count = matrix->rows - base < ROWS ? matrix->rows - base : ROWS;
        for (int t = 0; t < tokens; t++) {
            float *to = out + (int64_t)t * stride + base;
            for (int i = 0; i < count; i++)
                to[i] = (add ? to[i] : 0.0f) + rows[ROWS * t + i] + (bias ? bias[base + i] : 0.0f);
        }
    }
}

/* Pieces of a stage over tiles: enough of them that threads end together, few enough to cost nothing. */
static int step_of(const Decoder *self, int tiles) {
    int pieces = 8 * (1 + atomic_load_explicit(&self->team.wanted, memory_order_relaxed));
    return most_of(1, tiles / pieces);
}

static void tiled(Decoder *self, Work work, int tiles) {
    self->step = step_of(self, tiles);
    together(&self->team, work, self, (tiles + self->step - 1) / self->step);
}

static void project_piece(void *context, int piece) {
    Decoder *self = context;
    const Layer *layer = self->layer;
    const Matrix *matrix[3] = {&layer->query, &layer->key, &layer->value};
    const float *bias[3] = {layer->query_bias, layer->key_bias, layer->value_bias};
    float *out[3] = {self->query, self->key, self->value};
    int first = piece * self->step, last = first + self->step;
    for (int i = 0; i < 3; i++) { /* the tiles of the three count through */
        int tiles = tiles_of(matrix[i]), end = last < tiles ? last : tiles;
        if (first < end)
            multiply(self, matrix[i], first, end, self->tokens, bias[i], out[i], matrix[i]->rows, 0);
        first = most_of(first - tiles, 0);
        last -= tiles;
        if (last <= 0) return;
    }
}

static void place_piece(void *context, int t) {
    Decoder *self = context;
    const Model *model = &self->model;
    int width = model->head_width, kv_width = model->kv_heads * width;
    const float *cosine = self->cosine + t * PAIR_MOST, *sine = self->sine + t * PAIR_MOST;
    float *query = self->query + (int64_t)t * model->heads * width, *key = self->key + (int64_t)t * kv_width;
    const float *value = self->value + (int64_t)t * kv_width;
    for (int h = 0; h < model->heads; h++) rotate(query + h * width, cosine, sine, width, model->halves);
    for (int h = 0; h < model->kv_heads; h++) rotate(key + h * width, cosine, sine, width, model->halves);
    int64_t row = (int64_t)self->cells[self->start + t] * kv_width;
    for (int i = 0; i < kv_width; i++) {
        self->layer->keys[row + i] = to_half(key[i]);
        self->layer->values[row + i] = to_half(value[i]);
    }
}

static void attend_piece(void *context, int piece) {
    Decoder *self = context;
    const Model *model = &self->model;
    int t = piece / model->heads, h = piece % model->heads, width = model->head_width;
    int64_t at = ((int64_t)t * model->heads + h) * width, kv = (int64_t)h / (model->heads / model->kv_heads) * width;
    attend(
        self->query + at, self->layer->keys + kv, self->layer->values + kv, self->cells, self->start + t + 1,
        (int64_t)model->kv_heads * width, width, self->score + (int64_t)piece * model->context, self->mixed + at);
}

static void gate_piece(void *context, int piece) {
    Decoder *self = context;
    const Layer *layer = self->layer;
    int tiles = tiles_of(&layer->gate), first = piece * self->step, last = first + self->step;
    float gate[MOST * ROWS], up[MOST * ROWS];
    for (int tile = first; tile < last && tile < tiles; tile++) {
        tile_dots(&layer->gate, tile, self->codes, self->tokens, gate);
        tile_dots(&layer->up, tile, self->codes, self->tokens, up);
        for (int t = 0; t < self->tokens; t++) {
            float *to = self->hidden + (int64_t)t * self->model.hidden + tile * ROWS;
            for (int i = 0; i < ROWS; i++) to[i] = gated(gate[ROWS * t + i], up[ROWS * t + i]);
        }
    }
}

static void matrix_piece(void *context, int piece) {
    Decoder *self = context;
    const Matrix *matrix = self->matrix;
    int first = piece * self->step, last = first + self->step, tiles = tiles_of(matrix);
    multiply(self, matrix, first, last < tiles ? last : tiles, self->tokens, NULL, self->to, matrix->rows, self->add);
}

/* A matrix times the codes: into `to` (tokens, rows), or added to it. */
static void apply(Decoder *self, const Matrix *matrix, float *to, int add) {
    self->matrix = matrix;
    self->to = to;
    self->add = add;
    tiled(self, matrix_piece, tiles_of(matrix));
}

static void one_layer(Decoder *self) {
    const Model *model = &self->model;
    const Layer *layer = self->layer;
    int tokens = self->tokens;
    quantise_all(self, self->x, layer->attention_norm, model->width, tokens);
    tiled(self, project_piece, tiles_of(&layer->query) + tiles_of(&layer->key) + tiles_of(&layer->value));
    together(&self->team, place_piece, self, tokens);
    together(&self->team, attend_piece, self, tokens * model->heads);
    quantise_all(self, self->mixed, NULL, model->heads * model->head_width, tokens);
    apply(self, &layer->out, self->x, 1);
    quantise_all(self, self->x, layer->feed_norm, model->width, tokens);
    tiled(self, gate_piece, tiles_of(&layer->gate));
    quantise_all(self, self->hidden, NULL, model->hidden, tokens);
    apply(self, &layer->down, self->x, 1);
}

/* Any matrix times any tokens, x (tokens, columns): out (tokens, rows). For tests and for looking. Returns 0, or 1 for no memory. */
int decoder_product(const Matrix *matrix, const float *x, int32_t tokens, float *out) {
    int columns = matrix->columns, blocks = columns / BLOCK;
    int8_t *code = malloc((size_t)columns);
    float *scale = malloc(2 * (size_t)blocks * sizeof *scale);
    int32_t *sum = malloc((size_t)blocks * sizeof *sum);
    int failed = !(code && scale && sum);
    for (int t = 0; t < tokens && !failed; t++) {
        quantise(x + (int64_t)t * columns, columns, code, scale, scale + blocks, sum);
        Codes codes = {code, scale, scale + blocks, sum};
        for (int tile = 0; tile < tiles_of(matrix); tile++) {
            float rows[ROWS];
            tile_dots(matrix, tile, &codes, 1, rows);
            for (int i = 0; i < ROWS && tile * ROWS + i < matrix->rows; i++)
                out[(int64_t)t * matrix->rows + tile * ROWS + i] = rows[i];
        }
    }
    free(code);
    free(scale);
    free(sum);
    return failed;
}

/* Which of the three ways to multiply was compiled. */
const char *decoder_way(void) { return WAY; }

void decoder_close(Decoder *self) {
    if (!self) return;
    close_team(&self->team);
    void *owned[] = {self->x, self->normed, self->query, self->key, self->value, self->mixed, self->hidden, self->score,
                     self->cosine, self->sine, self->frequency, self->code, self->scale, self->shift, self->sum};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
    free(self);
}

/* The model's arrays stay the caller's and must outlive the decoder. NULL: no memory, or sizes this code is not for. */
Decoder *decoder_open(const Model *model) {
    int attention = model->heads * model->head_width, kv = model->kv_heads * model->head_width;
    int widest = most_of(most_of(model->width, attention), model->hidden), pairs = model->head_width / 2;
    if (model->head_width % 16 || model->head_width > 256 || pairs > PAIR_MOST || model->kv_heads < 1 ||
        model->heads % model->kv_heads || model->width % BLOCK || attention % BLOCK || model->hidden % BLOCK)
        return NULL;
    Decoder *self = calloc(1, sizeof *self);
    if (!self) return NULL;
    self->model = *model;
    open_team(&self->team);
    const size_t one = sizeof(float);
    self->x = calloc((size_t)MOST * model->width, one);
    self->normed = calloc((size_t)MOST * model->width, one);
    self->query = calloc((size_t)MOST * attention, one);
    self->key = calloc((size_t)MOST * kv, one);
    self->value = calloc((size_t)MOST * kv, one);
    self->mixed = calloc((size_t)MOST * attention, one);
    self->hidden = calloc((size_t)MOST * model->hidden, one);
    self->score = calloc((size_t)MOST * model->heads * model->context, one); /* touched as far as it is used */
    self->cosine = calloc((size_t)MOST * PAIR_MOST, one);
    self->sine = calloc((size_t)MOST * PAIR_MOST, one);
    self->frequency = calloc(PAIR_MOST, one);
    self->code = calloc((size_t)MOST * widest, 1);
    self->scale = calloc((size_t)MOST * widest / BLOCK, one);
    self->shift = calloc((size_t)MOST * widest / BLOCK, one);
    self->sum = calloc((size_t)MOST * widest / BLOCK, one);
    if (!(self->x && self->normed && self->query && self->key && self->value && self->mixed && self->hidden &&
          self->score && self->cosine && self->sine && self->frequency && self->code && self->scale && self->shift &&
          self->sum)) {
        decoder_close(self);
        return NULL;
    }
    for (int i = 0; i < pairs; i++)
        self->frequency[i] = (float)pow(model->rope_base, -2.0 * i / model->head_width);
    return self;
}

/* Begin with tokens at positions from `start`; `cells` holds the cache cell of every position up to the last of them. */
void decoder_begin(
    Decoder *self, const int32_t *token, int32_t tokens, int32_t start, const int32_t *cells, int32_t threads) {
    self->tokens = tokens;
    self->start = start;
    self->cells = cells;
    self->which = NULL;
    for (int t = 0; t < tokens; t++) {
        read_row(
            self->model.embedding_type, self->model.embedding, token[t], self->model.width,
            self->x + (int64_t)t * self->model.width);
        for (int i = 0; i < self->model.head_width / 2; i++) {
            double angle = (double)(start + t) * self->frequency[i];
            self->cosine[t * PAIR_MOST + i] = (float)cos(angle);
            self->sine[t * PAIR_MOST + i] = (float)sin(angle);
        }
    }
    muster(&self->team, threads);
}

/* Layers [first, last). */
void decoder_layers(Decoder *self, int32_t first, int32_t last) {
    for (int i = first; i < last; i++) {
        self->layer = self->model.layer + i;
        one_layer(self);
    }
}

/* Logits behind the tokens `which` (indices into the batch): out (count, vocabulary). Then the helpers may sleep. */
void decoder_end(Decoder *self, const int32_t *which, int32_t count, float *out) {
    if (count) {
        self->which = which;
        quantise_all(self, self->x, self->model.norm, self->model.width, count);
        self->which = NULL;
        self->tokens = count;
        apply(self, &self->model.output, out, 0);
    }
    muster(&self->team, 1);
}
