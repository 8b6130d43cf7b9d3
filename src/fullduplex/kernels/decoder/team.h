/* Threads that work through the pieces of one stage after another; the caller is one of them and never waits for one that
   has not begun a piece, so a helper the system keeps from running holds nobody up. */

enum { HELPERS = 15, SPINS = 4000 };

typedef void (*Work)(void *context, int piece);

typedef struct {
    /* stage (16 bits), its number of pieces (24), the next piece (24): one word, so that a late helper cannot take a piece
       of a stage whose end it has slept through */
    _Atomic uint64_t ticket;
    _Atomic int done;        /* pieces finished */
    _Atomic unsigned wanted; /* helpers that may work now */
    Work work;
    void *context;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread[HELPERS];
    unsigned helpers;
    int closing;
} Team;

typedef struct {
    Team *team;
    unsigned index;
} Helper;

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Work while there are pieces; whether there were any. */
static int take_pieces(Team *team) {
    int any = 0;
    for (;;) {
        uint64_t ticket = atomic_load_explicit(&team->ticket, memory_order_acquire);
        if ((ticket & 0xffffff) >= (ticket >> 24 & 0xffffff)) return any;
        ticket = atomic_fetch_add_explicit(&team->ticket, 1, memory_order_acq_rel);
        if ((ticket & 0xffffff) >= (ticket >> 24 & 0xffffff)) return any;
        team->work(team->context, (int)(ticket & 0xffffff));
        atomic_fetch_add_explicit(&team->done, 1, memory_order_release);
        any = 1;
    }
}

static void *help(void *argument) {
    Helper self = *(Helper *)argument;
    free(argument);
    Team *team = self.team;
    for (int idle = 0;;) {
        if (self.index < atomic_load_explicit(&team->wanted, memory_order_acquire)) {
            idle = take_pieces(team) ? 0 : idle + 1;
            if (idle > SPINS) {
                sched_yield();
                idle = 0;
            }
            relax();
            continue;
        }
        pthread_mutex_lock(&team->lock);
        while (!team->closing && self.index >= atomic_load(&team->wanted)) pthread_cond_wait(&team->wake, &team->lock);
        int closing = team->closing;
        pthread_mutex_unlock(&team->lock);
        if (closing) return NULL;
        idle = 0;
    }
}

/* The caller and up to `threads` - 1 helpers work from now on; 1 sends all to sleep. */
static void muster(Team *team, int threads) {
    unsigned wanted = threads < 2 ? 0 : threads - 1 < HELPERS ? (unsigned)threads - 1 : HELPERS;
    pthread_mutex_lock(&team->lock);
    while (team->helpers < wanted) {
        Helper *helper = malloc(sizeof *helper);
        if (!helper) break;
        *helper = (Helper){team, team->helpers};
        if (pthread_create(&team->thread[team->helpers], NULL, help, helper)) {
            free(helper);
            break;
        }
        team->helpers++;
    }
    atomic_store_explicit(&team->wanted, wanted, memory_order_release);
    if (wanted) pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->lock);
}

/* Do all pieces of a stage. */
static void together(Team *team, Work work, void *context, int pieces) {
    if (pieces == 1 || !atomic_load_explicit(&team->wanted, memory_order_relaxed)) {
        for (int piece = 0; piece < pieces; piece++) work(context, piece);
        return;
    }
    team->work = work;
    team->context = context;
    atomic_store_explicit(&team->done, 0, memory_order_relaxed);
    uint64_t stage = (atomic_load_explicit(&team->ticket, memory_order_relaxed) >> 48) + 1;
    atomic_store_explicit(&team->ticket, stage << 48 | (uint64_t)pieces << 24, memory_order_release);
    take_pieces(team);
    for (int spins = 0; atomic_load_explicit(&team->done, memory_order_acquire) < pieces; spins++) {
        relax();
        if (spins > SPINS) sched_yield();
    }
}

static void open_team(Team *team) {
    memset(team, 0, sizeof *team);
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->wake, NULL);
}

static void close_team(Team *team) {
    pthread_mutex_lock(&team->lock);
    team->closing = 1;
    atomic_store(&team->wanted, 0);
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->lock);
    for (unsigned i = 0; i < team->helpers; i++) pthread_join(team->thread[i], NULL);
    pthread_mutex_destroy(&team->lock);
    pthread_cond_destroy(&team->wake);
}
