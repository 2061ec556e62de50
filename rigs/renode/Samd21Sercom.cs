// A SERCOM of the SAMD21 as an asynchronous USART, for Renode 1.16; compiled when the machine is made (C# 7).
//
// What the firmware's port relies on (data sheet, "SERCOM USART"): DRE means that the data register is free, whatever
// has been received; TXC rises when the last stop bit has left and falls with a write of one or of DATA; RXC while a
// received byte waits; the line is paced by BAUD in its arithmetic mode, 16 samples a bit, 10 bits a byte; SWRST puts
// everything back; SYNCBUSY is never set; nothing goes in or out before CTRLA.ENABLE. Received bytes are not lost.
using System;

using Antmicro.Renode.Core;
using Antmicro.Renode.Peripherals.Bus;
using Antmicro.Renode.Time;

namespace Antmicro.Renode.Peripherals.UART
{
    [AllowedTranslations(AllowedTranslation.DoubleWordToByte | AllowedTranslation.WordToByte)]
    public class Samd21Sercom : UARTBase, IBytePeripheral, IKnownSize
    {
        public Samd21Sercom(IMachine machine, ulong clockFrequency = 48000000) : base(machine)
        {
            frequency = clockFrequency;
            IRQ = new GPIO();
            Reset();
        }

        public override void Reset()
        {
            base.Reset();
            Forget();
        }

        public override void WriteChar(byte value)
        {
            if((plain[CtrlA] & Enable) != 0)
            {
                base.WriteChar(value);
            }
        }

        public byte ReadByte(long offset)
        {
            switch(offset)
            {
            case IntEnClr:
            case IntEnSet:
                return enabledInterrupts;
            case IntFlag:
                return Flags();
            case Status:
            case Status + 1:
                return 0;
            case Data:
                byte received;
                var there = TryGetCharacter(out received);
                Update();
                return there ? received : (byte)0;
            default:
                return IsPlain(offset) ? plain[offset] : (byte)0;
            }
        }

        public void WriteByte(long offset, byte value)
        {
            switch(offset)
            {
            case CtrlA:
                if((value & SoftwareReset) != 0)
                {
                    Reset();
                    return;
                }
                plain[CtrlA] = value;
                break;
            case IntEnClr:
                enabledInterrupts &= (byte)~value;
                break;
            case IntEnSet:
                enabledInterrupts |= value;
                break;
            case IntFlag:
                if((value & TransmitComplete) != 0)
                {
                    complete = false;
                }
                break;
            case Data:
                Send(value);
                break;
            default:
                if(IsPlain(offset))
                {
                    plain[offset] = value;
                }
                break;
            }
            Update();
        }

        public GPIO IRQ { get; private set; }

        public long Size { get { return 0x400; } }

        public override Bits StopBits { get { return Bits.One; } }

        public override Parity ParityBit { get { return Parity.None; } }

        public override uint BaudRate
        {
            get
            {
                var register = (ulong)(plain[Baud] | (plain[Baud + 1] << 8));
                return (uint)(frequency * (BaudRange - register) / SamplesPerBit / BaudRange);
            }
        }

        protected override void CharWritten()
        {
            Update();
        }

        protected override void QueueEmptied()
        {
            Update();
        }

        private static bool IsPlain(long offset)
        {
            return offset < Status && offset != IntFlag;
        }

        // Also called from the constructor of the base class, before the fields of this one are there.
        private void Forget()
        {
            if(IRQ == null)
            {
                return;
            }
            Array.Clear(plain, 0, plain.Length);
            enabledInterrupts = 0;
            shifting = complete = false;
            waiting = Nothing;
            epoch++;
            IRQ.Unset();
        }

        private void Send(byte value)
        {
            if((plain[CtrlA] & Enable) == 0)
            {
                return;
            }
            complete = false;
            if(shifting)
            {
                waiting = value;
                return;
            }
            Shift(value);
        }

        private void Shift(byte value)
        {
            shifting = true;
            TransmitCharacter(value);
            var sent = epoch;
            var baud = Math.Max(1u, BaudRate);
            this.GetMachine().ScheduleAction(TimeInterval.FromMicroseconds(BitsPerByte * 1000000UL / baud), _ => Shifted(sent));
        }

        // A reset in between has made another epoch.
        private void Shifted(ulong sent)
        {
            if(sent != epoch)
            {
                return;
            }
            if(waiting != Nothing)
            {
                var next = (byte)waiting;
                waiting = Nothing;
                Shift(next);
            }
            else
            {
                shifting = false;
                complete = true;
            }
            Update();
        }

        private byte Flags()
        {
            var enabled = (plain[CtrlA] & Enable) != 0;
            return (byte)((enabled && waiting == Nothing ? DataRegisterEmpty : 0)
                | (complete ? TransmitComplete : 0)
                | (Count > 0 ? ReceiveComplete : 0));
        }

        private void Update()
        {
            if(IRQ != null)
            {
                IRQ.Set((Flags() & enabledInterrupts) != 0);
            }
        }

        private byte enabledInterrupts;
        private bool shifting;
        private bool complete;
        private int waiting = Nothing;
        private ulong epoch;

        private readonly byte[] plain = new byte[Status];
        private readonly ulong frequency;

        private const int Nothing = -1;
        private const int CtrlA = 0x00;
        private const int Baud = 0x0C;
        private const int IntEnClr = 0x14;
        private const int IntEnSet = 0x16;
        private const int IntFlag = 0x18;
        private const int Status = 0x1A;
        private const int Data = 0x28;
        private const byte SoftwareReset = 1;
        private const byte Enable = 2;
        private const byte DataRegisterEmpty = 1;
        private const byte TransmitComplete = 2;
        private const byte ReceiveComplete = 4;
        private const ulong SamplesPerBit = 16;
        private const ulong BaudRange = 65536;
        private const ulong BitsPerByte = 10;
    }
}
