package org.peft4j.nn.seam;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * A method attached to a model under a name: its parameters, and what happens at each point it claims. Immutable but for
 * the parameters' values; the model does not know of it, {@link ForwardContext} says where it applies.
 *
 * <p>Owns the parameters: after {@link #close} it must not be used in a forward. Closing twice does nothing.
 */
public final class Adapter implements AutoCloseable {
    private final String name;
    private final int positions;
    private final Map<String, LowRank> lowRanks;
    private final Map<String, PrefixKeyValues> prefixes;
    private final Map<String, Parameter> replacements;
    private final Map<String, Parameter> parameters;
    private boolean closed;

    private Adapter(Builder builder) {
        name = builder.name;
        positions = builder.positions;
        lowRanks = Collections.unmodifiableMap(builder.lowRanks);
        prefixes = Collections.unmodifiableMap(builder.prefixes);
        replacements = Collections.unmodifiableMap(builder.replacements);
        parameters = Collections.unmodifiableMap(builder.parameters);
    }

    public static Builder builder(String name) {
        return new Builder(name);
    }

    public String name() {
        return name;
    }

    /** What is trained, by path, in the order of the model. */
    public Map<String, Parameter> parameters() {
        return parameters;
    }

    /** Number of trained elements. */
    public long elements() {
        return parameters.values().stream().mapToLong(Parameter::elements).sum();
    }

    /** Positions that the method takes before the text's first one. */
    public int positions() {
        return positions;
    }

    public Optional<LowRank> lowRank(String linearPath) {
        return Optional.ofNullable(lowRanks.get(linearPath));
    }

    public Optional<PrefixKeyValues> prefix(String attentionPath) {
        return Optional.ofNullable(prefixes.get(attentionPath));
    }

    public Optional<Parameter> replacement(String tensorPath) {
        return Optional.ofNullable(replacements.get(tensorPath));
    }

    /** Claimed linear layers by path. */
    public Map<String, LowRank> lowRanks() {
        return lowRanks;
    }

    public Map<String, PrefixKeyValues> prefixes() {
        return prefixes;
    }

    /** Claimed tensors by path. */
    public Map<String, Parameter> replacements() {
        return replacements;
    }

    @Override
    public void close() {
        if (!closed) {
            closed = true;
            parameters.values().forEach(Parameter::close);
        }
    }

    @Override
    public String toString() {
        return "Adapter[" + name + ", " + elements() + " elements in " + parameters.size() + " tensors]";
    }

    /** Collects a method's claims. A point is claimed at most once by one adapter. */
    public static final class Builder {
        private final String name;
        private int positions;
        private final Map<String, LowRank> lowRanks = new LinkedHashMap<>();
        private final Map<String, PrefixKeyValues> prefixes = new LinkedHashMap<>();
        private final Map<String, Parameter> replacements = new LinkedHashMap<>();
        private final Map<String, Parameter> parameters = new LinkedHashMap<>();

        private Builder(String name) {
            if (name.isBlank()) {
                throw new IllegalArgumentException("an adapter needs a name");
            }
            this.name = name;
        }

        public Builder parameter(Parameter parameter) {
            put(parameters, parameter.path(), parameter);
            return this;
        }

        public Builder claim(LinearPoint point, LowRank claim) {
            put(lowRanks, point.path(), claim);
            return this;
        }

        public Builder claim(KeyValuePoint point, PrefixKeyValues claim) {
            put(prefixes, point.path(), claim);
            return this;
        }

        /** The parameter takes the tensor's place; it is added to the parameters too. */
        public Builder claim(TensorPoint point, Parameter parameter) {
            put(replacements, point.path(), parameter);
            return parameter(parameter);
        }

        public Builder positions(int value) {
            positions = value;
            return this;
        }

        /** Whether the tensor is claimed already. */
        public boolean claims(TensorPoint point) {
            return replacements.containsKey(point.path());
        }

        private static <V> void put(Map<String, V> map, String path, V value) {
            if (map.putIfAbsent(path, value) != null) {
                throw new IllegalStateException("claimed twice by one adapter: " + path);
            }
        }

        /** @throws org.peft4j.error.ConfigException if two claims cannot hold together; the parameters are closed then */
        public Adapter build() {
            Adapter adapter = new Adapter(this);
            try {
                Conflicts.check(adapter);
            } catch (RuntimeException e) {
                adapter.close();
                throw e;
            }
            return adapter;
        }
    }
}
