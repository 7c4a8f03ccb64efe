/** A user's module: peft4j is all that it names. */
module consumer {
    requires org.peft4j;
}
