package org.peft4j.report;

/** Draws a chart as PNG. */
@FunctionalInterface
interface ChartPainter {
    byte[] png(Chart chart);
}
