"""An evaluator in the slots that other libraries have for metrics: one module for each library."""
