package org.peft4j.run.files;

import java.util.ArrayList;
import java.util.List;

/**
 * A line of a picture that never holds more than {@value #MAX_POINTS} points: when it is full, neighbours are merged to
 * their mean, and from then on twice as many values make one point. Values that are no finite numbers are left out.
 */
public final class Curve {
    static final int MAX_POINTS = 2048;

    private List<double[]> points = new ArrayList<>();
    private int valuesPerPoint = 1;
    private int pending;
    private double sumX;
    private double sumY;

    public void add(double x, double y) {
        if (!Double.isFinite(x) || !Double.isFinite(y)) {
            return;
        }
        sumX += x;
        sumY += y;
        if (++pending == valuesPerPoint) {
            points.add(new double[] {sumX / pending, sumY / pending});
            pending = 0;
            sumX = 0;
            sumY = 0;
            if (points.size() == MAX_POINTS) {
                merge();
            }
        }
    }

    private void merge() {
        List<double[]> merged = new ArrayList<>();
        for (int i = 0; i + 1 < points.size(); i += 2) {
            double[] a = points.get(i);
            double[] b = points.get(i + 1);
            merged.add(new double[] {(a[0] + b[0]) / 2, (a[1] + b[1]) / 2});
        }
        points = merged;
        valuesPerPoint *= 2;
    }

    public boolean isEmpty() {
        return points.isEmpty();
    }

    int size() {
        return points.size();
    }

    public double[] x() {
        return points.stream().mapToDouble(point -> point[0]).toArray();
    }

    public double[] y() {
        return points.stream().mapToDouble(point -> point[1]).toArray();
    }

    public double lastX() {
        return points.get(points.size() - 1)[0];
    }

    public double lastY() {
        return points.get(points.size() - 1)[1];
    }

    /** The means of a window that slides over the points, about a twentieth of them wide. */
    public Curve smoothed() {
        int half = Math.max(1, points.size() / 40);
        Curve smooth = new Curve();
        double[] y = y();
        for (int i = 0; i < y.length; i++) {
            int from = Math.max(0, i - half);
            int to = Math.min(y.length, i + half + 1);
            double sum = 0;
            for (int j = from; j < to; j++) {
                sum += y[j];
            }
            smooth.add(points.get(i)[0], sum / (to - from));
        }
        return smooth;
    }
}
