package org.peft4j.method.bottleneck;

/** How the two layers of a bottleneck begin; biases begin with zeros. */
public enum InitBottleneck {
    /** Normal with standard deviation 0.02, as BERT's own layers: near to no change. */
    BERT,
    /** The second layer with zeros, the first Kaiming-uniform: exactly no change, with any scaling. */
    MAM_ADAPTER,
    /** Normal with standard deviation 0.01, cut off at ±0.02: near to no change. */
    HOULSBY
}
