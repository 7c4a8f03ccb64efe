package org.peft4j.report;

import java.awt.AWTError;
import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Locale;
import javax.imageio.ImageIO;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.markers.SeriesMarkers;
import org.peft4j.run.files.Curve;

/** Draws charts with XChart. Apart from {@link ChartPainter}, so that a Java without AWT loads all but this class. */
final class XChartPainter {
    private XChartPainter() {}

    /**
     * The picture, at twice the size it is shown in, so that it is sharp on dense screens.
     *
     * @throws IllegalStateException if this Java cannot draw, because it has no display library or no fonts
     */
    static byte[] png(Chart chart) {
        if (System.getProperty("java.awt.headless") == null) {
            System.setProperty("java.awt.headless", "true"); // a server has no display, and none is needed
        }
        try {
            return draw(chart);
        } catch (LinkageError | AWTError | InternalError e) {
            throw new IllegalStateException("this Java cannot draw: " + e, e);
        }
    }

    private static byte[] draw(Chart chart) {
        int width = 640;
        int height = 300;
        int scale = 2;
        XYChart picture = new XYChartBuilder().width(width).height(height).build();
        style(picture.getStyler(), chart);
        for (Chart.Line line : chart.lines()) {
            addSeries(picture, line);
        }
        BufferedImage image = new BufferedImage(width * scale, height * scale, BufferedImage.TYPE_INT_RGB);
        Graphics2D graphics = image.createGraphics();
        graphics.scale(scale, scale);
        picture.paint(graphics, width, height);
        graphics.dispose();
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try {
            ImageIO.write(image, "png", out);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return out.toByteArray();
    }

    private static void addSeries(XYChart picture, Chart.Line line) {
        Curve curve = line.curve();
        double[] x = curve.x();
        // XChart labels equally spaced values as they are (1, 13, 25, …) and others with round numbers, which reads
        // better. A ten-thousandth of the width is not seen.
        x[0] += (curve.lastX() - x[0]) * 1e-4;
        XYSeries series = picture.addSeries(line.name(), x, curve.y());
        boolean faint = line.style() == Chart.Style.FAINT;
        boolean marked = line.style() == Chart.Style.MARKED;
        Color color = new Color(line.color());
        series.setLineColor(color);
        series.setLineStyle(new BasicStroke(faint ? 1f : 2f, BasicStroke.CAP_ROUND, BasicStroke.JOIN_ROUND));
        series.setMarker(marked ? SeriesMarkers.CIRCLE : SeriesMarkers.NONE);
        series.setMarkerColor(color);
        series.setShowInLegend(!faint);
    }

    private static void style(XYStyler style, Chart chart) {
        Color grey = new Color(0x57606a);
        Color pale = new Color(0xe7ebef);
        Font font = new Font(Font.SANS_SERIF, Font.PLAIN, 13);
        long named = chart.lines().stream()
                .filter(line -> line.style() != Chart.Style.FAINT)
                .count();
        style.setBaseFont(font)
                .setChartBackgroundColor(Color.WHITE)
                .setChartFontColor(grey)
                .setPlotBackgroundColor(Color.WHITE)
                .setPlotBorderVisible(false)
                .setChartTitleVisible(false)
                .setChartPadding(6)
                .setLegendVisible(named > 1)
                .setLegendPosition(Styler.LegendPosition.OutsideS)
                .setLegendLayout(Styler.LegendLayout.Horizontal)
                .setLegendBorderColor(Color.WHITE)
                .setLegendBackgroundColor(Color.WHITE)
                .setLegendFont(font)
                .setMarkerSize(6)
                .setLocale(Locale.ROOT);
        if (chart.fromZero()) {
            style.setYAxisMin(0.0);
        }
        style.setAxisTitlesVisible(false)
                .setAxisTickLabelsFont(font)
                .setAxisTickLabelsColor(grey)
                .setAxisTicksLineVisible(false)
                .setAxisTicksMarksVisible(false)
                .setPlotGridVerticalLinesVisible(false)
                .setPlotGridLinesColor(pale)
                .setPlotGridLinesStroke(new BasicStroke(1f))
                .setPlotMargin(4)
                .setXAxisMin(0.0)
                .setXAxisTickMarkSpacingHint(90)
                .setYAxisTickMarkSpacingHint(44)
                .setXAxisDecimalPattern("#,##0.##")
                .setYAxisTickLabelsFormattingFunction(y -> label(y, chart.share()));
    }

    private static String label(double y, boolean share) {
        // Ticks are sums of a step that binary numbers only nearly hold.
        String digits =
                ReportText.shortest(Double.parseDouble(String.format(Locale.ROOT, "%.6g", share ? 100 * y : y)));
        return share ? digits + " %" : digits;
    }
}
