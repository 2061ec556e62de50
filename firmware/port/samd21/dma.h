/* dma.h -- the DMA's two channels: samples in, bytes out. In a firmware with a microphone only. */
#ifndef SAMD21_DMA_H
#define SAMD21_DMA_H

#include <stdint.h>

enum { DMA_SAMPLES, DMA_LINE, DMA_CHANNELS };

/* As the controller reads it; source and target lie behind the last beat where they are stepped. */
struct dma_descriptor {
    uint16_t control, count;
    uint32_t source, target;
    const volatile struct dma_descriptor *next;
};

/* The first descriptor of each channel, and where the controller keeps the one under way. */
extern volatile struct dma_descriptor dma_first[DMA_CHANNELS], dma_under_way[DMA_CHANNELS];

void dma_init(void);

/* Begin with the channel's first descriptor: a beat for each trigger, an interrupt for each block. */
void dma_start(uint32_t channel, uint32_t trigger);
void dma_stop(uint32_t channel);

/* Called by the handler: a block is complete. */
void microphone_block(void);
void uart_chunk_sent(void);

#endif
