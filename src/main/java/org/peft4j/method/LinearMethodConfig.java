package org.peft4j.method;

/** Settings of a method that does something of its own to linear layers. */
public interface LinearMethodConfig extends MethodConfig {
    /** The layers that it adapts. */
    TargetLayers layers();

    /** The same settings for other layers. */
    LinearMethodConfig withLayers(TargetLayers layers);
}
