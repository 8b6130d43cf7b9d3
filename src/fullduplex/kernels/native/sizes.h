/* What the numbers of `sizes` mean, and the sizes of tiles: the same in both precisions. */

#define SCAN_BLOCK 2048 /* values of a row that one task of the scan takes; long rows suit the prefetcher */
#define CONV_TILE 64   /* steps that the convolution takes before it goes to the next channels */
#define MAX_TAPS 16
#define SEL_AHEAD 16   /* steps of the selective scan whose inputs are prepared at once */
#define SSD_STEPS 4    /* steps of a turn */
#define SSD_WIDE 4     /* vectors of lanes that stay in registers */

enum { SEL_B, SEL_T, SEL_D, SEL_N, SEL_SOFTPLUS, SEL_THREADS, SEL_TILE, SEL_U, SEL_DT = 9, SEL_IN = 11, SEL_OUT = 13,
       SEL_Z = 15 };

enum { SSD_B, SSD_T, SSD_H, SSD_I, SSD_J, SSD_KEY, SSD_QUERY, SSD_VALUE, SSD_REVERSE, SSD_THREADS, SSD_V, SSD_K = 13,
       SSD_Q = 16, SSD_OUT = 19, SSD_STATE = 22 };

enum { S2_B, S2_T, S2_V, S2_E, S2_N, S2_PORT1, S2_PORT2, S2_BACKWARDS, S2_TILE, S2_THREADS };
