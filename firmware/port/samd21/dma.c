#include "dma.h"

#if defined(MICROPHONE_KIND)

#include "audio_registers.h"
#include "counter.h"

#include <stdbool.h>

volatile struct dma_descriptor dma_first[DMA_CHANNELS] __attribute__((aligned(16)));
volatile struct dma_descriptor dma_under_way[DMA_CHANNELS] __attribute__((aligned(16)));

void dmac_handler(void);

void dma_init(void)
{
    PM_AHBMASK |= PM_AHBMASK_DMAC;
    PM_APBBMASK |= PM_APBBMASK_DMAC;
    DMAC_BASEADDR = (uint32_t)(uintptr_t)dma_first;
    DMAC_WRBADDR = (uint32_t)(uintptr_t)dma_under_way;
    DMAC_CTRL = DMAC_CTRL_ENABLE_LEVEL_0;
    NVIC_ISER = 1u << NVIC_IRQ_DMAC;
}

void dma_start(uint32_t channel, uint32_t trigger)
{
    DMAC_CHID = (uint8_t)channel;
    DMAC_CHCTRLA = DMAC_CHCTRLA_SWRST;
    DMAC_CHCTRLB = DMAC_CHCTRLB_BEAT | DMAC_CHCTRLB_TRIGSRC(trigger);
    DMAC_CHINTENSET = DMAC_INT_COMPLETE;
    DMAC_CHCTRLA = DMAC_CHCTRLA_ENABLE;
}

void dma_stop(uint32_t channel)
{
    DMAC_CHID = (uint8_t)channel;
    DMAC_CHCTRLA = 0;
}

static bool ended(uint32_t channel)
{
    DMAC_CHID = (uint8_t)channel;
    if ((DMAC_CHINTFLAG & DMAC_INT_COMPLETE) == 0) {
        return false;
    }
    DMAC_CHINTFLAG = DMAC_INT_COMPLETE;
    return true;
}

/* The code that is interrupted may have chosen a channel. */
void dmac_handler(void)
{
    const uint8_t chosen = DMAC_CHID;

    counter_interrupts++;
    if (ended(DMA_SAMPLES)) {
        microphone_block();
    }
    if (ended(DMA_LINE)) {
        uart_chunk_sent();
    }
    DMAC_CHID = chosen;
}

#endif
