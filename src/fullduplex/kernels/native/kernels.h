/* Every kernel in one precision. */
#undef VEC
#undef MASK
#include "vector.h"
#include "scan.h"
#include "conv.h"
#include "selective.h"
#include "selective2d.h"
#include "ssd.h"
#include "cauchy.h"
#include "hadamard.h"
#include "step.h"
#include "language.h"
#include "chimera.h"
#include "feedforward.h"
