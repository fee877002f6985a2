"""Settings of every model stage. Defaults are a model of 0.9 million parameters for two CPU cores.

Imports nothing heavy, so that a form or a plan can be drawn without torch.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline_data.settings import Fraction, Settings

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Rate = Annotated[float, Field(gt=0, le=1)]
Precision = Literal["float32", "bfloat16"]


class ModelShape(Settings):
    """The shape of a Llama language model; the vocabulary comes from the tokenizer."""

    hidden_size: int = Field(default=128, ge=8)
    """Width of the residual stream."""
    num_layers: int = Field(default=4, ge=1)
    """Transformer blocks."""
    num_heads: int = Field(default=2, ge=1)
    """Attention heads; heads of 64 are the fastest on a CPU."""
    intermediate_size: int = Field(default=320, ge=8)
    """Width of the feed-forward layer."""
    max_positions: int = Field(default=256, ge=16)
    """Longest sequence the model can read."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.hidden_size % (2 * self.num_heads):
            raise ValueError("hidden_size must be a multiple of 2 * num_heads")
        return self


class PretrainOptimizer(Settings):
    """Muon for the matrices of the blocks, AdamW for embeddings and norms."""

    muon_learning_rate: Rate = 0.02
    """Peak learning rate of Muon."""
    muon_momentum: float = Field(default=0.95, ge=0, lt=1)
    """Momentum of Muon."""
    muon_weight_decay: float = Field(default=0.1, ge=0)
    """Decoupled weight decay of the matrices."""
    adamw_learning_rate: Rate = 5e-3
    """Peak learning rate of AdamW."""
    adamw_beta2: float = Field(default=0.99, ge=0, lt=1)
    """Decay of AdamW's second moment."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    warmup: Fraction = 0.03
    """Fraction of the steps over which the learning rate rises to its peak."""
    floor: Fraction = 0.02
    """Fraction of the peak that the learning rate falls to at the end."""


class PretrainConfig(Settings):
    """Pretraining of a base model on a mixture of sources."""

    model: ModelShape = ModelShape()
    """Shape of the model."""
    optimizer: PretrainOptimizer = PretrainOptimizer()
    """Optimizer and schedule."""
    mixture: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={"world": 65.0, "wiki": 24.0, "recipes": 11.0}, min_length=1
    )
    """Weight of each source in the training rows."""
    max_epochs: float | None = Field(default=None, gt=0)
    """Most passes over any source, whose missing rows the others give; none: no limit."""
    source_max_epochs: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Most passes over single sources, instead of max_epochs."""
    source_max_tokens: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    """Most tokens of single sources over all steps."""
    steps: int = Field(default=1300, ge=1)
    """Optimizer steps."""
    batch_size: int = Field(default=16, ge=1)
    """Rows a step."""
    context: int = Field(default=128, ge=8)
    """Tokens a row."""
    precision: Precision = "float32"
    """Number format of matrix products; bfloat16 pays only on hardware with units for it."""
    seed: Seed = 7
    """Seed of the weights and of the training order."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.context > self.model.max_positions:
            raise ValueError("context must not be greater than model.max_positions")
        for name in ("source_max_epochs", "source_max_tokens"):
            unknown = sorted(set(getattr(self, name)) - set(self.mixture))
            if unknown:
                raise ValueError(f"{name} names {', '.join(unknown)}, not a source of the mixture")
        return self


class SftConfig(Settings):
    """Supervised fine-tuning on demonstrations; the loss is on answers only."""

    steps: int = Field(default=180, ge=1)
    """Optimizer steps."""
    batch_size: int = Field(default=32, ge=1)
    """Demonstrations a step."""
    learning_rate: Rate = 1e-3
    """Peak learning rate."""
    warmup: Fraction = 0.05
    """Fraction of the steps of warm-up."""
    floor: Fraction = 0.05
    """Fraction of the peak at the end."""
    precision: Precision = "float32"
    """Number format of matrix products."""
    seed: Seed = 7
    """Seed of the order of demonstrations."""


class ResponsesConfig(Settings):
    """Responses of the SFT model that are to be ranked."""

    responses_per_prompt: int = Field(default=4, ge=2, le=8)
    """Responses sampled for each prompt."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature."""
    max_new_tokens: int = Field(default=28, ge=1)
    """Longest response in tokens."""
    batch_size: int = Field(default=256, ge=1)
    """Sequences generated at a time."""
    seed: Seed = 7
    """Seed of the sampling."""


class RewardConfig(Settings):
    """A reward model learnt from labelled pairs."""

    epochs: int = Field(default=1, ge=1)
    """Passes over the prompts."""
    batch_size: int = Field(default=8, ge=1)
    """Prompts a step; all responses to a prompt are one batch element."""
    learning_rate: Rate = 5e-4
    """Peak learning rate of trunk and head."""
    likelihood_weight: float = Field(default=0.5, ge=0)
    """Initial weight of the SFT model's log-probability of the answer; it is learnt."""
    likelihood_learning_rate: Rate = 1.5e-2
    """Peak learning rate of that weight."""
    centre: float = Field(default=0.005, ge=0)
    """Weight of the squared rewards in the loss, which keeps them near 0."""
    seed: Seed = 7
    """Seed of the head and of the order of prompts."""


class PpoConfig(Settings):
    """Proximal policy optimization against the reward model."""

    iterations: int = Field(default=25, ge=1)
    """Rounds of rollout, score, advantages and update."""
    rollouts: int = Field(default=64, ge=2)
    """Prompts answered in each iteration."""
    epochs: int = Field(default=2, ge=1)
    """Passes over the rollouts in each update."""
    minibatches: int = Field(default=2, ge=1)
    """Parts the rollouts are cut into for each pass."""
    learning_rate: Rate = 1e-4
    """Peak learning rate of the policy; falls to 30% of it."""
    value_learning_rate: Rate = 3e-4
    """Learning rate of the value model."""
    kl_weight: float = Field(default=0.25, ge=0)
    """Penalty on the divergence from the SFT model."""
    clip: float = Field(default=0.2, gt=0)
    """How far the probability ratio may move in one iteration."""
    value_clip: float = Field(default=0.2, gt=0)
    """How far a value may move in one iteration."""
    gae_lambda: Fraction = 0.95
    """Trade of bias against variance in the advantages."""
    reward_clip: float = Field(default=4.0, gt=0)
    """Largest absolute reward, in standard deviations."""
    unfinished_penalty: float = Field(default=1.0, ge=0)
    """What a response that does not stop by itself loses."""
    pretraining_weight: float = Field(default=1.0, ge=0)
    """Weight of the pretraining loss mixed in, so that knowledge is not forgotten."""
    pretraining_rows: int = Field(default=12, ge=1)
    """Pretraining rows in each minibatch."""
    pretraining_context: int = Field(default=64, ge=8)
    """Tokens a pretraining row."""
    pretraining_mixture: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={"world": 1.0}, min_length=1
    )
    """Sources of the pretraining rows."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature of the rollouts."""
    max_new_tokens: int = Field(default=28, ge=1)
    """Longest response in tokens."""
    seed: Seed = 7
    """Seed of prompts, sampling and minibatches."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.minibatches > self.rollouts:
            raise ValueError("minibatches must not be greater than rollouts")
        return self


class PracticeConfig(Settings):
    """Practice on checkable problems: the model learns from those of its answers that are right."""

    samples: int = Field(default=8, ge=1)
    """Answers sampled for each problem."""
    anchors: int = Field(default=200, ge=0)
    """Other prompts whose own best answer is rehearsed beside them."""
    anchor_samples: int = Field(default=4, ge=1)
    """Answers sampled for each anchor; the reward model picks the best."""
    steps: int = Field(default=80, ge=1)
    """Optimizer steps."""
    batch_size: int = Field(default=48, ge=1)
    """Answers a step."""
    learning_rate: Rate = 5e-4
    """Peak learning rate."""
    max_new_tokens: int = Field(default=28, ge=1)
    """Longest answer in tokens."""
    seed: Seed = 7
    """Seed of sampling and order."""


class EvaluateConfig(Settings):
    """How models are measured on held-out data."""

    samples: int = Field(default=2, ge=1)
    """Sampled answers for each test prompt."""
    max_new_tokens: int = Field(default=28, ge=1)
    """Longest answer in tokens."""
    bootstrap: int = Field(default=2000, ge=100)
    """Resamples behind each interval."""
    context: int = Field(default=128, ge=8)
    """Tokens of the windows in which held-out documents are read."""
    max_documents: int = Field(default=150, ge=1)
    """Held-out documents of each source whose bits per byte are measured."""
    num_shown: int = Field(default=8, ge=1)
    """Test prompts whose greedy answers are shown."""
    seed: Seed = 7
    """Seed of sampling and resampling."""
