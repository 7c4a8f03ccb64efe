package org.peft4j.method.poly;

/** How Poly's layers choose among their skills, as Hugging Face PEFT's {@code poly_type} names it. */
public enum PolyType {
    /** By trained numbers of each task. */
    POLY
}
