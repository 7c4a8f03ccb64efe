package org.peft4j.train;

/** Draws a chart as PNG. */
@FunctionalInterface
interface ChartPainter {
    byte[] png(Chart chart);
}
