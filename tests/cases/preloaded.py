"""What the server of these tests imports beforehand, so that no case waits for it; it measures no rates of this CPU."""

import sentence_transformers  # noqa: F401
import transformers.models.bert.modeling_bert
import transformers.models.clip.modeling_clip
import transformers.models.llama.modeling_llama
import transformers.models.mixtral.modeling_mixtral
import transformers.models.t5.modeling_t5
import transformers.models.vit.modeling_vit
import transformers.models.wav2vec2.modeling_wav2vec2  # noqa: F401
from trl import DPOTrainer, GRPOTrainer, KTOTrainer, RewardTrainer, SFTTrainer  # noqa: F401

from perftune.surveying import rates

rates.SECONDS = 0.0
